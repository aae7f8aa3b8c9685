// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {GridManagement} from "../../src/GridManagement.sol";
import {IGridManagement} from "../../src/interfaces/IGridManagement.sol";
import {Community} from "../base/Community.sol";
import {VM} from "../base/Vm.sol";

/// @title GridManagementTest: metrics, the emergency's hysteresis, requests and staleness
contract GridManagementTest is Community {
    uint256 private constant NODE = 7;

    function testReportsMetrics() external {
        VM.expectEmit(address(grid));
        emit GridManagement.GridMetricsUpdated(NODE, 6000, 10_000, 400_000);
        _report(6000, 10_000);
        IGridManagement.GridMetrics memory metrics = grid.getGridStatus(NODE);
        VM.assertEq(metrics.totalLoad, 6000, "load");
        VM.assertEq(metrics.availableCapacity, 4000, "left");
        VM.assertEq(metrics.stability, 400_000, "40 % free");
        VM.assertFalse(metrics.emergencyStatus, "normal");
    }

    function testOverload() external {
        VM.expectEmit(address(grid));
        emit GridManagement.EmergencyStarted(NODE, 0);
        _report(12_000, 10_000);
        IGridManagement.GridMetrics memory metrics = grid.getGridStatus(NODE);
        VM.assertEq(metrics.availableCapacity, 0, "nothing left");
        VM.assertEq(metrics.stability, 0, "unstable");
        VM.assertTrue(metrics.emergencyStatus, "emergency");
    }

    function testHysteresis() external {
        _report(95_000, 100_000);
        VM.assertFalse(_emergency(), "5 % free is enough");
        _report(95_001, 100_000);
        VM.assertTrue(_emergency(), "less is not");
        _report(85_001, 100_000);
        VM.assertTrue(_emergency(), "not yet clearly enough");
        VM.expectEmit(address(grid));
        emit GridManagement.EmergencyEnded(NODE, 150_000);
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

    function testRequestsAreCounted() external {
        _report(12_000, 10_000);
        VM.expectEmit(address(grid));
        emit GridManagement.LoadBalancingTriggered(NODE, 1, 2000, 0);
        _trigger();
        _report(9000, 10_000);
        VM.expectEmit(address(grid));
        emit GridManagement.LoadBalancingTriggered(NODE, 2, 0, 100_000);
        _trigger();
    }

    function testStaleness() external {
        VM.assertTrue(grid.isStale(NODE), "never reported");
        VM.assertEq(grid.updatedAt(NODE), 0, "never");
        _report(1, 2);
        VM.assertEq(grid.updatedAt(NODE), block.timestamp, "now");
        VM.warp(block.timestamp + 3 * INTERVAL_S);
        VM.assertFalse(grid.isStale(NODE), "three intervals old");
        VM.warp(block.timestamp + 1);
        VM.assertTrue(grid.isStale(NODE), "older");
    }

    function testLargestPowers() external {
        uint256 most = type(uint88).max;
        _report(most - 1, most);
        VM.assertEq(grid.getGridStatus(NODE).availableCapacity, 1, "no overflow");
        VM.startPrank(gridOperator);
        bytes memory why = abi.encodeWithSelector(GridManagement.PowerOutOfRange.selector, most + 1);
        VM.expectRevert(why);
        grid.updateGridMetrics(NODE, most + 1, 1);
        VM.expectRevert(why);
        grid.updateGridMetrics(NODE, 1, most + 1);
    }

    function testRefusals() external {
        bytes memory unknown = abi.encodeWithSelector(GridManagement.NodeUnknown.selector, NODE);
        VM.expectRevert(unknown);
        grid.getGridStatus(NODE);
        VM.prank(gridOperator);
        VM.expectRevert(unknown);
        grid.triggerLoadBalancing(NODE);
        VM.prank(gridOperator);
        VM.expectRevert(abi.encodeWithSelector(GridManagement.CapacityZero.selector, NODE));
        grid.updateGridMetrics(NODE, 0, 0);
    }

    function testOnlyTheGridRoleWrites() external {
        bytes memory why =
            abi.encodeWithSignature("AccessManagedUnauthorized(address)", address(this));
        VM.expectRevert(why);
        grid.updateGridMetrics(NODE, 1, 2);
        VM.expectRevert(why);
        grid.triggerLoadBalancing(NODE);
    }

    function testThresholdsAreChecked() external {
        VM.expectRevert(abi.encodeWithSelector(GridManagement.ThresholdsInvalid.selector, 2, 1));
        new GridManagement(address(authority), 2, 1, 1);
        VM.expectRevert(
            abi.encodeWithSelector(GridManagement.ThresholdsInvalid.selector, 2, 1e6 + 1)
        );
        new GridManagement(address(authority), 2, 1e6 + 1, 1);
    }

    function _report(uint256 load, uint256 capacity) private {
        VM.prank(gridOperator);
        grid.updateGridMetrics(NODE, load, capacity);
    }

    function _trigger() private {
        VM.prank(gridOperator);
        grid.triggerLoadBalancing(NODE);
    }

    function _emergency() private view returns (bool) {
        return grid.getGridStatus(NODE).emergencyStatus;
    }
}
