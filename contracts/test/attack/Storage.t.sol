// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {Batches, TestOrder} from "../base/Batches.sol";
import {LedgerTest} from "../base/LedgerTest.sol";
import {VM} from "../base/Vm.sol";

/// @title StorageTest: I8, a batch writes no slot but its accounts' words and the ledger's total
contract StorageTest is LedgerTest {
    function setUp() public override {
        super.setUp();
        fund(alice);
        fund(bob);
    }

    function testABatchWritesNoFreshSlot() external {
        _writesThreeKnownSlots(START, _fourOrders());
    }

    /// @dev In an earlier interval than the accounts' latest, with shortfall and fees.
    function testALateBatchWritesNoFreshSlot() external {
        settle(START, trade(10));
        TestOrder[] memory orders = _fourOrders();
        for (uint256 i; i < 4; ++i) {
            orders[i].signedWh += 100;
            orders[i].shortWh = 100;
            orders[i].limit += orders[i].side == Batches.BUY ? int64(1000) : int64(0);
            orders[i].value += orders[i].side == Batches.BUY ? int64(2) : int64(0);
        }
        _writesThreeKnownSlots(START - INTERVAL_S, orders);
    }

    /// @dev Nothing left over, no fees: the ledger's own word stays as it is.
    function testAnEvenBatchWritesOnlyItsAccounts() external {
        bytes32[] memory slots = _slotsOf(START, Batches.pack(ledger, START, trade(1000)));
        VM.assertEq(slots.length, 2, "two words");
    }

    function testAUsedAccountIsNeverFreshAgain() external {
        uint256 key = 0x5E11;
        settle(
            START, pair(Batches.sell(key, 1000, PRICE, PRICE), Batches.buy(BOB, 1000, PRICE, PRICE))
        );
        address account = VM.addr(key);
        leave(ledger, account, moneyOf(account));
        (uint256 energyWh, uint256 moneyMicro, uint256 latest, uint256 used,) =
            ledger.accountOf(account);
        VM.assertEq(energyWh + moneyMicro, 0, "everything left");
        VM.assertEq(latest << 96 | used, 10 << 96 | 1, "the word remembers the interval");
    }

    /// @dev Two orders each of Alice, who produced more than she sold, and of Bob.
    function _fourOrders() private pure returns (TestOrder[] memory orders) {
        orders = new TestOrder[](4);
        orders[0] = Batches.sell(ALICE, 700, PRICE, PRICE);
        orders[0].meteredWh = 800;
        orders[1] = Batches.sell(ALICE, 300, PRICE, PRICE);
        orders[1].terms = "another order";
        orders[2] = Batches.buy(BOB, 600, PRICE, PRICE);
        orders[3] = Batches.buy(BOB, 400, PRICE, PRICE);
        orders[3].terms = "another order";
    }

    function _writesThreeKnownSlots(uint64 start, TestOrder[] memory orders) private {
        bytes memory rows = Batches.pack(ledger, start, orders);
        uint256 before = VM.snapshotState();
        bytes32[] memory slots = _slotsOf(start, rows);
        VM.revertToState(before);
        VM.assertEq(slots.length, 3, "a word for each account, and the total");
        for (uint256 i; i < slots.length; ++i) {
            VM.assertTrue(VM.load(address(ledger), slots[i]) != 0, "fresh");
        }
    }

    /// @dev The slots that settling these rows writes, each once.
    function _slotsOf(uint64 start, bytes memory rows) private returns (bytes32[] memory slots) {
        VM.record();
        settleRows(start, rows);
        (, bytes32[] memory writes) = VM.accesses(address(ledger));
        uint256 count;
        for (uint256 i; i < writes.length; ++i) {
            uint256 j;
            while (j < count && writes[j] != writes[i]) ++j;
            if (j == count) writes[count++] = writes[i];
        }
        slots = new bytes32[](count);
        for (uint256 i; i < count; ++i) {
            slots[i] = writes[i];
        }
    }
}
