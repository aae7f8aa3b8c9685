// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {IEnergyLedger} from "../../src/interfaces/IEnergyLedger.sol";
import {LedgerTest} from "../base/LedgerTest.sol";
import {Dice} from "../base/RandomBatch.sol";
import {VM} from "../base/Vm.sol";

/// @title WindowFuzz: an account's window of used intervals against a plain list of them
/// @dev forge-config: default.fuzz.runs = 150
contract WindowFuzz is LedgerTest {
    uint256 private constant STEPS = 40;

    mapping(uint256 index => bool) private used;
    uint256 private latest;
    bool private begun;

    function testFuzzTheWindowIsTheListOfUsedIntervals(uint256 seed) external {
        Dice memory dice = Dice(seed, 0);
        for (uint256 i; i < STEPS; ++i) {
            _use(_next(dice));
        }
        VM.assertEq(latestOf(alice), latest, "latest");
        uint256 bits = usedOf(alice);
        for (uint256 i; i < 96; ++i) {
            bool expected = i <= latest && used[latest - i];
            VM.assertTrue(bits >> i & 1 == (expected ? 1 : 0), "a bit for each interval");
        }
    }

    /// @dev Many cancellations in one call are as many calls.
    function testFuzzCancelManyIsCancelEach(uint96 intervals, uint96 before, uint8 reach) external {
        intervals &= uint96((1 << reach % 48) - 1); // as far ahead as one may
        before &= uint96((1 << reach % 48) - 1);
        uint64 next = START + 2 * INTERVAL_S;
        VM.warp(next - 1);
        VM.prank(alice);
        ledger.cancelIntervals(next, before);
        uint256 state = VM.snapshotState();
        VM.prank(alice);
        ledger.cancelIntervals(next, intervals);
        uint256 together = latestOf(alice) << 96 | usedOf(alice);
        VM.revertToState(state);
        for (uint64 i; i < 48; ++i) {
            if ((intervals & ~before) >> i & 1 == 0) continue;
            VM.prank(alice);
            ledger.cancelInterval(next + i * INTERVAL_S);
        }
        VM.assertEq(latestOf(alice) << 96 | usedOf(alice), together, "the same window");
    }

    function _use(uint256 index) private {
        uint64 start = GENESIS + uint64(index) * INTERVAL_S;
        bytes memory why;
        if (begun && index + 96 <= latest) {
            why =
                abi.encodeWithSelector(IEnergyLedger.AccountIntervalPassed.selector, alice, latest);
        } else if (used[index]) {
            why = abi.encodeWithSelector(IEnergyLedger.AccountIntervalUsed.selector, alice);
        }
        VM.prank(address(token));
        if (why.length != 0) VM.expectRevert(why);
        ledger.useInterval(alice, start);
        if (why.length != 0) return;
        used[index] = true;
        if (index > latest) latest = index;
        begun = true;
    }

    /// @dev Mostly around the window's two ends.
    function _next(Dice memory dice) private view returns (uint256) {
        uint256 kind = dice.between(0, 19);
        if (kind == 0) return dice.between(0, 200);
        if (kind == 1) return latest + dice.between(90, 400);
        uint256 index = latest + dice.between(0, 106);
        return index < 100 ? dice.between(0, 5) : index - 100;
    }
}
