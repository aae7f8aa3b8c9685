// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {IEnergyLedger} from "../../src/interfaces/IEnergyLedger.sol";
import {LedgerTest} from "../base/LedgerTest.sol";
import {VM, Vm} from "../base/Vm.sol";

/// @title CancellationTest: intervals that a member takes out of trade, before they begin
contract CancellationTest is LedgerTest {
    /// @dev The first delivery that has not begun; it is now the second before it does.
    uint64 private constant NEXT = START + 2 * INTERVAL_S;
    uint64 private constant NEXT_INDEX = 12;

    function setUp() public override {
        super.setUp();
        fund(alice);
        fund(bob);
        VM.warp(NEXT - 1);
    }

    function testACancelledIntervalCannotBeSettled() external {
        VM.expectEmit(address(ledger));
        emit IEnergyLedger.IntervalCancelled(first(), NEXT);
        VM.prank(first());
        ledger.cancelInterval(NEXT);
        VM.assertEq(latestOf(first()), NEXT_INDEX, "used");
        VM.prank(first());
        VM.expectRevert(byFirst(IEnergyLedger.AccountIntervalUsed.selector));
        ledger.cancelInterval(NEXT);
        VM.warp(NEXT + INTERVAL_S);
        refused(NEXT, trade(1), byFirst(IEnergyLedger.AccountIntervalUsed.selector));
    }

    function testADeliveryThatHasBegunCannotBeCancelled() external {
        VM.warp(NEXT);
        VM.startPrank(alice);
        VM.expectRevert(abi.encodeWithSelector(IEnergyLedger.DeliveryBegun.selector, NEXT));
        ledger.cancelInterval(NEXT);
        VM.expectRevert(abi.encodeWithSelector(IEnergyLedger.DeliveryBegun.selector, NEXT));
        ledger.cancelIntervals(NEXT, 1);
        ledger.cancelIntervals(NEXT, 2); // the one after it can
        VM.assertEq(latestOf(alice), NEXT_INDEX + 1, "and is");
    }

    function testNothingFarAheadIsCancelled() external {
        uint64 far = NEXT + 47 * INTERVAL_S; // 47 intervals and a second from now
        VM.startPrank(alice);
        ledger.cancelInterval(far);
        bytes memory why = abi.encodeWithSelector(
            IEnergyLedger.DeliveryTooFarAhead.selector,
            far + INTERVAL_S,
            block.timestamp + 48 * INTERVAL_S
        );
        VM.expectRevert(why);
        ledger.cancelInterval(far + INTERVAL_S);
        VM.expectRevert(why);
        ledger.cancelIntervals(far + INTERVAL_S, 1);
        VM.warp(NEXT); // 48 intervals to the second
        ledger.cancelInterval(far + INTERVAL_S);
    }

    function testUnsettledIntervalsStayInTheWindow() external {
        VM.prank(alice);
        ledger.cancelIntervals(NEXT, type(uint48).max);
        VM.assertEq(latestOf(alice), NEXT_INDEX + 47, "as far as one can");
        VM.assertEq(usedOf(alice), uint256(type(uint48).max), "48 intervals in one call");
        settle(START, trade(1));
        settle(GENESIS, trade(1));
        VM.assertEq(usedOf(alice) >> 48, 1 << 1 | 1 << 11, "and what went before still settles");
    }

    function testSeveralAtOncePassOverUsedOnes() external {
        VM.startPrank(alice);
        ledger.cancelInterval(NEXT + INTERVAL_S);
        VM.recordLogs();
        ledger.cancelIntervals(NEXT, 0xb); // 0, 1 and 3 from there
        VM.stopPrank();
        Vm.Log[] memory logs = VM.getRecordedLogs();
        VM.assertEq(logs.length, 2, "one of the three was used");
        VM.assertEq(uint256(logs[0].topics[2]), NEXT, "the first");
        VM.assertEq(uint256(logs[1].topics[2]), NEXT + 3 * INTERVAL_S, "the fourth");
        VM.assertEq(latestOf(alice), NEXT_INDEX + 3, "the latest");
        VM.assertEq(usedOf(alice), 0xd, "0, 1 and 3 from there, seen backwards");
    }

    function testIntervalsBehindTheWindowArePassedOver() external {
        VM.prank(address(token)); // a later use than any cancellation reaches
        ledger.useInterval(alice, NEXT + 200 * INTERVAL_S);
        VM.startPrank(alice);
        VM.recordLogs();
        ledger.cancelIntervals(NEXT, 3);
        VM.assertEq(VM.getRecordedLogs().length, 0, "they are past");
        VM.expectRevert(
            abi.encodeWithSelector(
                IEnergyLedger.AccountIntervalPassed.selector, alice, NEXT_INDEX + 200
            )
        );
        ledger.cancelInterval(NEXT);
    }

    function testNoIntervalsAtAll() external {
        VM.prank(alice);
        ledger.cancelIntervals(NEXT, 0);
        VM.assertEq(usedOf(alice), 0, "nothing");
    }

    function testMisalignedIntervalsAreRefused() external {
        bytes memory why =
            abi.encodeWithSelector(IEnergyLedger.DeliveryMisaligned.selector, NEXT + 1);
        VM.startPrank(alice);
        VM.expectRevert(why);
        ledger.cancelInterval(NEXT + 1);
        VM.expectRevert(why);
        ledger.cancelIntervals(NEXT + 1, 1);
    }

    function testItIsTheCallersOwn() external {
        VM.prank(bob);
        ledger.cancelInterval(NEXT);
        VM.assertEq(usedOf(alice), 0, "not alice's");
        VM.assertEq(moneyOf(bob), PURSE_MICRO, "and no money moves");
    }
}
