// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {Batches, TestOrder} from "../base/Batches.sol";
import {Community} from "../base/Community.sol";
import {VM} from "../base/Vm.sol";

/// @title StorageTest: I8, a batch writes no slot but its accounts' words and the ledger's total
contract StorageTest is Community {
    function testABatchWritesNoFreshSlot() external {
        fund(alice);
        fund(bob);
        TestOrder[] memory orders = new TestOrder[](4);
        orders[0] = Batches.sell(ALICE, 700, PRICE, PRICE);
        orders[1] = Batches.sell(ALICE, 300, PRICE, PRICE);
        orders[1].terms = "another order";
        orders[2] = Batches.buy(BOB, 600, PRICE, PRICE);
        orders[3] = Batches.buy(BOB, 400, PRICE, PRICE);
        orders[3].terms = "another order";
        bytes memory rows = Batches.pack(ledger, START, orders);
        uint256 before = VM.snapshotState();
        VM.record();
        settleRows(START, rows);
        (, bytes32[] memory writes) = VM.accesses(address(ledger));
        VM.revertToState(before);
        VM.assertEq(writes.length, 5, "a word for each row and the total");
        for (uint256 i; i < writes.length; ++i) {
            VM.assertTrue(VM.load(address(ledger), writes[i]) != 0, "fresh");
        }
    }

    function testAUsedAccountIsNeverFreshAgain() external {
        fund(bob);
        TestOrder[] memory orders = trade(1000);
        settle(START, orders);
        VM.startPrank(alice);
        ledger.withdraw(moneyOf(alice), alice);
        VM.stopPrank();
        (uint256 energyWh, uint256 moneyMicro, uint256 epoch, uint256 used) =
            ledger.accountOf(alice);
        VM.assertEq(energyWh + moneyMicro + epoch, 0, "everything left");
        VM.assertEq(used, 1 << 10, "the word remembers the interval");
    }
}
