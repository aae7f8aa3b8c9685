// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {GridManagement} from "../../src/GridManagement.sol";
import {IGridManagement} from "../../src/interfaces/IGridManagement.sol";
import {Community} from "../base/Community.sol";
import {VM} from "../base/Vm.sol";

/// @title GridManagementTest: metrics, both emergencies and their ends, requests, answers and staleness
contract GridManagementTest is Community {
    uint256 private constant NODE = 7;
    uint256 private constant STALE_AFTER_S = 3 * INTERVAL_S;

    /* METRICS */

    function testReportsMetrics() external {
        VM.expectEmit(address(grid));
        emit IGridManagement.GridMetricsUpdated(NODE, 6000, 10_000, 400_000);
        _report(6000, 10_000);
        IGridManagement.GridMetrics memory metrics = grid.getGridStatus(NODE);
        VM.assertEq(metrics.totalLoad, 6000, "load");
        VM.assertEq(metrics.availableCapacity, 4000, "left");
        VM.assertEq(metrics.stability, 400_000, "40 % free");
        VM.assertFalse(metrics.emergencyStatus, "normal");
    }

    function testOverload() external {
        VM.expectEmit(address(grid));
        emit IGridManagement.EmergencyStarted(NODE, 0);
        _report(12_000, 10_000);
        IGridManagement.GridMetrics memory metrics = grid.getGridStatus(NODE);
        VM.assertEq(metrics.availableCapacity, 0, "nothing left");
        VM.assertEq(metrics.stability, 0, "unstable");
        VM.assertTrue(metrics.emergencyStatus, "emergency");
    }

    function testLargestPowers() external {
        uint256 most = type(uint64).max;
        _report(most - 1, most);
        VM.assertEq(grid.getGridStatus(NODE).availableCapacity, 1, "no overflow");
        VM.startPrank(gridOperator);
        grid.triggerLoadBalancing(NODE);
        bytes memory why =
            abi.encodeWithSelector(IGridManagement.PowerOutOfRange.selector, most + 1);
        VM.expectRevert(why);
        grid.updateGridMetrics(NODE, most + 1, 1);
        VM.expectRevert(why);
        grid.updateGridMetrics(NODE, 1, most + 1);
        VM.expectRevert(why);
        grid.answerLoadBalancing(NODE, 1, most + 1);
    }

    function testNodesAreApart() external {
        _report(96_000, 100_000);
        VM.startPrank(gridOperator);
        grid.triggerLoadBalancing(NODE);
        grid.updateGridMetrics(NODE + 1, 1, 2);
        VM.assertFalse(grid.getGridStatus(NODE + 1).emergencyStatus, "the other node's emergency");
        VM.assertEq(grid.requestsOf(NODE + 1), 0, "the other node's request");
    }

    function testStaleness() external {
        VM.assertTrue(grid.isStale(NODE), "never reported");
        VM.assertEq(grid.updatedAt(NODE), 0, "never");
        _report(1, 2);
        VM.assertEq(grid.updatedAt(NODE), block.timestamp, "now");
        VM.warp(block.timestamp + STALE_AFTER_S);
        VM.assertFalse(grid.isStale(NODE), "three intervals old");
        VM.warp(block.timestamp + 1);
        VM.assertTrue(grid.isStale(NODE), "older");
    }

    function testRefusals() external {
        bytes memory unknown = abi.encodeWithSelector(IGridManagement.NodeUnknown.selector, NODE);
        VM.expectRevert(unknown);
        grid.getGridStatus(NODE);
        VM.expectRevert(unknown);
        grid.emergencyOf(NODE);
        VM.startPrank(gridOperator);
        VM.expectRevert(unknown);
        grid.triggerLoadBalancing(NODE);
        VM.expectRevert(unknown);
        grid.declareEmergency(NODE, 1);
        VM.expectRevert(abi.encodeWithSelector(IGridManagement.CapacityZero.selector, NODE));
        grid.updateGridMetrics(NODE, 0, 0);
    }

    function testOnlyTheGridRoleWrites() external {
        bytes memory why =
            abi.encodeWithSignature("AccessManagedUnauthorized(address)", address(this));
        VM.expectRevert(why);
        grid.updateGridMetrics(NODE, 1, 2);
        VM.expectRevert(why);
        grid.triggerLoadBalancing(NODE);
        VM.expectRevert(why);
        grid.answerLoadBalancing(NODE, 1, 1);
        VM.expectRevert(why);
        grid.declareEmergency(NODE, 1);
    }

    function testConfigurationIsChecked() external {
        _refused("emergencyBelow", 2, 1, 1, 1);
        _refused("normalFrom", 2, 1e6 + 1, 1, 1);
        _refused("staleAfterS", 1, 1, 0, 1);
        _refused("staleAfterS", 1, 1, 7 days + 1, 1);
        _refused("declarationMaxS", 1, 1, 1, 0);
        _refused("declarationMaxS", 1, 1, 1, 7 days + 1);
        GridManagement made = new GridManagement(address(authority), 1e6, 1e6, 7 days, 7 days);
        VM.assertEq(made.normalFrom(), 1e6, "the ends are allowed");
    }

    /* THE AUTOMATIC EMERGENCY */

    function testHysteresis() external {
        _report(95_000, 100_000);
        VM.assertFalse(_emergency(), "5 % free is enough");
        _report(95_001, 100_000);
        VM.assertTrue(_emergency(), "less is not");
        _report(85_001, 100_000);
        VM.assertTrue(_emergency(), "not yet clearly enough");
        VM.expectEmit(address(grid));
        emit IGridManagement.EmergencyEnded(NODE, 150_000);
        _report(85_000, 100_000);
        VM.assertFalse(_emergency(), "15 % free again");
        _report(95_000, 100_000);
        VM.assertFalse(_emergency(), "no flutter");
    }

    function testAnEmergencyIsToldOnce() external {
        _report(96_000, 100_000);
        VM.recordLogs();
        _report(97_000, 100_000);
        VM.assertEq(VM.getRecordedLogs().length, 1, "only the metrics");
    }

    function testStaleMetricsEndTheAutomaticEmergency() external {
        _report(96_000, 100_000);
        uint256 lastSecond = block.timestamp + STALE_AFTER_S;
        _rests(lastSecond, 0);
        VM.warp(lastSecond);
        VM.assertTrue(_emergency(), "still reported");
        VM.warp(lastSecond + 1);
        VM.assertFalse(_emergency(), "nobody reports");
        _rests(0, 0);
    }

    function testEachReportRenewsTheAutomaticEmergency() external {
        _report(96_000, 100_000);
        VM.warp(block.timestamp + STALE_AFTER_S);
        _report(96_000, 100_000);
        VM.warp(block.timestamp + STALE_AFTER_S);
        VM.assertTrue(_emergency(), "renewed");
    }

    /// @dev 10 % free keeps an emergency up, but starts none.
    function testALapsedEmergencyDoesNotComeBackByItself() external {
        _report(96_000, 100_000);
        uint256 lapsedAt = block.timestamp + STALE_AFTER_S;
        VM.warp(lapsedAt + 1);
        VM.expectEmit(address(grid));
        emit IGridManagement.EmergencyLapsed(NODE, lapsedAt);
        _report(90_000, 100_000);
        VM.assertFalse(_emergency(), "it had ended");
    }

    function testALapsedEmergencyStartsAnew() external {
        _report(96_000, 100_000);
        VM.warp(block.timestamp + STALE_AFTER_S + 1);
        VM.expectEmit(address(grid));
        emit IGridManagement.EmergencyStarted(NODE, 30_000);
        _report(97_000, 100_000);
        VM.assertTrue(_emergency(), "again");
    }

    /* THE DECLARED EMERGENCY */

    function testADeclaredEmergencyEndsByItself() external {
        _report(1000, 100_000);
        uint256 until = block.timestamp + 600;
        VM.expectEmit(address(grid));
        emit IGridManagement.EmergencyDeclared(NODE, until);
        _declare(600);
        _rests(0, until);
        VM.warp(until - 1);
        VM.assertTrue(_emergency(), "declared");
        VM.warp(until);
        VM.assertFalse(_emergency(), "over");
        _rests(0, 0);
    }

    function testADeclaredEmergencyNeedsNoReports() external {
        _report(1000, 100_000);
        VM.warp(block.timestamp + STALE_AFTER_S + 1);
        _declare(DECLARATION_MAX_S);
        VM.assertTrue(_emergency(), "declared on stale metrics");
        _report(1000, 100_000);
        VM.assertTrue(_emergency(), "good metrics do not end it");
    }

    function testADeclaredEmergencyCanBeRenewedForALimitedTimeOnly() external {
        _report(1000, 100_000);
        _declare(DECLARATION_MAX_S);
        VM.warp(block.timestamp + DECLARATION_MAX_S - 1);
        VM.prank(gridOperator);
        VM.expectRevert(
            abi.encodeWithSelector(
                IGridManagement.DurationTooLong.selector, DECLARATION_MAX_S + 1, DECLARATION_MAX_S
            )
        );
        grid.declareEmergency(NODE, DECLARATION_MAX_S + 1);
        _declare(DECLARATION_MAX_S);
        _rests(0, block.timestamp + DECLARATION_MAX_S);
    }

    function testADeclaredEmergencyCanBeWithdrawn() external {
        _report(1000, 100_000);
        _declare(600);
        VM.expectEmit(address(grid));
        emit IGridManagement.EmergencyWithdrawn(NODE);
        _declare(0);
        VM.assertFalse(_emergency(), "ended");
        VM.prank(gridOperator);
        VM.expectRevert(abi.encodeWithSelector(IGridManagement.EmergencyNotDeclared.selector, NODE));
        grid.declareEmergency(NODE, 0);
    }

    function testWithdrawingLeavesTheAutomaticEmergency() external {
        _report(96_000, 100_000);
        _declare(600);
        _rests(block.timestamp + STALE_AFTER_S, block.timestamp + 600);
        _declare(0);
        VM.assertTrue(_emergency(), "too little capacity is free all the same");
    }

    /* REQUESTS AND ANSWERS */

    function testRequestsAreCounted() external {
        _report(12_000, 10_000);
        VM.expectEmit(address(grid));
        emit IGridManagement.LoadBalancingTriggered(NODE, 1, 2000, 0);
        _trigger();
        _report(9000, 10_000);
        VM.expectEmit(address(grid));
        emit IGridManagement.LoadBalancingTriggered(NODE, 2, 0, 100_000);
        _trigger();
        VM.assertEq(grid.requestsOf(NODE), 2, "two");
    }

    function testNoRequestOnStaleMetrics() external {
        _report(12_000, 10_000);
        uint256 at = block.timestamp;
        VM.warp(at + STALE_AFTER_S);
        _trigger();
        VM.warp(at + STALE_AFTER_S + 1);
        VM.prank(gridOperator);
        VM.expectRevert(abi.encodeWithSelector(IGridManagement.MetricsStale.selector, NODE, at));
        grid.triggerLoadBalancing(NODE);
    }

    function testARequestIsAnsweredOnce() external {
        _report(12_000, 10_000);
        _trigger();
        _trigger();
        VM.expectEmit(address(grid));
        emit IGridManagement.LoadBalancingAnswered(NODE, 2, 1500);
        _answer(2, 1500);
        VM.assertTrue(grid.isAnswered(NODE, 2), "answered");
        VM.assertFalse(grid.isAnswered(NODE, 1), "the other is open");
        VM.prank(gridOperator);
        VM.expectRevert(
            abi.encodeWithSelector(IGridManagement.RequestAlreadyAnswered.selector, NODE, 2)
        );
        grid.answerLoadBalancing(NODE, 2, 0);
        _answer(1, 0); // late, and that nobody can help
        VM.assertTrue(grid.isAnswered(NODE, 1), "answered too");
    }

    function testOnlyRequestsAreAnswered() external {
        _report(12_000, 10_000);
        _trigger();
        VM.startPrank(gridOperator);
        VM.expectRevert(abi.encodeWithSelector(IGridManagement.RequestUnknown.selector, NODE, 0));
        grid.answerLoadBalancing(NODE, 0, 1);
        VM.expectRevert(abi.encodeWithSelector(IGridManagement.RequestUnknown.selector, NODE, 2));
        grid.answerLoadBalancing(NODE, 2, 1);
        VM.expectRevert(
            abi.encodeWithSelector(IGridManagement.RequestUnknown.selector, NODE + 1, 1)
        );
        grid.answerLoadBalancing(NODE + 1, 1, 1);
    }

    /* HELP */

    function _report(uint256 load, uint256 capacity) private {
        VM.prank(gridOperator);
        grid.updateGridMetrics(NODE, load, capacity);
    }

    function _declare(uint256 durationS) private {
        VM.prank(gridOperator);
        grid.declareEmergency(NODE, durationS);
    }

    function _trigger() private {
        VM.prank(gridOperator);
        grid.triggerLoadBalancing(NODE);
    }

    function _answer(uint256 requestId, uint256 relievedW) private {
        VM.prank(gridOperator);
        grid.answerLoadBalancing(NODE, requestId, relievedW);
    }

    function _refused(
        string memory field,
        uint256 emergencyBelow,
        uint256 normalFrom,
        uint256 staleAfterS,
        uint256 declarationMaxS
    ) private {
        VM.expectRevert(
            abi.encodeWithSelector(IGridManagement.ConfigurationInvalid.selector, field)
        );
        new GridManagement(
            address(authority), emergencyBelow, normalFrom, staleAfterS, declarationMaxS
        );
    }

    function _emergency() private view returns (bool) {
        return grid.getGridStatus(NODE).emergencyStatus;
    }

    function _rests(uint256 automatic, uint256 declared) private view {
        (uint256 automaticUntil, uint256 declaredUntil) = grid.emergencyOf(NODE);
        VM.assertEq(automaticUntil, automatic, "on the metrics until");
        VM.assertEq(declaredUntil, declared, "on the declaration until");
    }
}
