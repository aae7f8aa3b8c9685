// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {Batches, TestOrder} from "../base/Batches.sol";
import {LedgerTest} from "../base/LedgerTest.sol";
import {Dice, RandomBatch} from "../base/RandomBatch.sol";
import {VM, Vm} from "../base/Vm.sol";

/// @title PathsFuzz: the ledger's short way for usual rows does what its plain way does
/// @dev The short way is for accounts whose latest interval is before the batch's. The same batch is
/// settled twice from the same state, but that the second time all accounts have used a later interval:
/// then every row goes the plain way. Both must say and book the same, for right and for wrong batches.
/// forge-config: default.fuzz.runs = 80
contract PathsFuzz is LedgerTest {
    uint256 private constant ACCOUNTS = 10;

    uint256[] private keys;

    function setUp() public override {
        super.setUp();
        for (uint256 i; i < ACCOUNTS; ++i) {
            keys.push(0xF0220 + i);
            // The last is poor, the one before it full: their rows may be refused.
            fund(VM.addr(keys[i]), i == ACCOUNTS - 1 ? 1e6 : PURSE_MICRO);
        }
        fund(VM.addr(keys[ACCOUNTS - 2]), type(uint64).max - PURSE_MICRO - 1e6);
        // What is held could be taken for what was produced or bought.
        for (uint256 i; i < ACCOUNTS; i += 2) {
            VM.prank(address(token));
            ledger.mintEnergy(VM.addr(keys[i]), 1e6);
        }
        ledger.setCompliance(address(this), false);
    }

    function testFuzzBothWaysAgreeOnRightBatches(uint256 seed) external {
        _agree(RandomBatch.make(Dice(seed, 0), keys, termsOf(address(currency))));
    }

    function testFuzzBothWaysAgreeOnWrongBatches(uint256 seed) external {
        Dice memory dice = Dice(seed, 0);
        TestOrder[] memory orders = RandomBatch.make(dice, keys, termsOf(address(currency)));
        RandomBatch.spoil(dice, orders[dice.between(0, orders.length - 1)], METERED_MAX_WH);
        _agree(orders);
    }

    function testFuzzBothWaysHeedFlags(uint256 seed, uint8 flags) external {
        Dice memory dice = Dice(seed, 0);
        TestOrder[] memory orders = RandomBatch.make(dice, keys, termsOf(address(currency)));
        ledger.setAccountFlags(VM.addr(orders[0].key), flags);
        _agree(orders);
    }

    /// @dev Fields at and over their edges, in a lone pair of rows at which most things are possible.
    function testFuzzBothWaysAgreeAtTheEdges(uint256 seed) external {
        Dice memory dice = Dice(seed, 0);
        TestOrder[] memory orders = pair(
            Batches.sell(keys[0], uint48(dice.between(0, 3)), type(int64).min, 0),
            Batches.buy(keys[1], uint48(dice.between(0, 3)), type(int64).max, 0)
        );
        for (uint256 i; i < 2; ++i) {
            orders[i].signedWh = _edge(dice);
            if (dice.between(0, 3) == 0) orders[i].executedWh = _edge(dice);
            if (dice.between(0, 3) == 0) orders[i].meteredWh = _edge(dice);
            if (dice.between(0, 7) == 0) orders[i].shortWh = _edge(dice);
            if (dice.between(0, 3) == 0) orders[i].trades = uint16(_edge(dice));
            orders[i].value = int64(dice.price(-3, 3));
            if (dice.between(0, 7) == 0) orders[i].value = int64(uint64(dice.roll()));
        }
        _agree(orders);
    }

    /* HELP */

    function _agree(TestOrder[] memory orders) private {
        bytes memory rows = Batches.pack(ledger, START, orders);
        uint256 before = VM.snapshotState();
        bytes32 short = _outcome(rows);
        VM.revertToState(before);
        VM.startPrank(address(token));
        for (uint256 i; i < ACCOUNTS; ++i) {
            ledger.useInterval(VM.addr(keys[i]), START + INTERVAL_S);
        }
        VM.stopPrank();
        VM.assertEq(short, _outcome(rows), "the ways differ");
    }

    /// @dev All that can be seen after a settlement but for the accounts' windows.
    function _outcome(bytes memory rows) private returns (bytes32 seen) {
        VM.recordLogs();
        (bool success, bytes memory why) = trySettle(START, rows);
        Vm.Log[] memory logs = VM.getRecordedLogs();
        seen = keccak256(abi.encode(success, why, logs));
        for (uint256 i; i < ACCOUNTS; ++i) {
            (uint256 energyWh, uint256 moneyMicro,,, uint256 flags) =
                ledger.accountOf(VM.addr(keys[i]));
            seen = keccak256(abi.encode(seen, energyWh, moneyMicro, flags));
        }
        return keccak256(abi.encode(seen, ledger.energyWhTotal(), ledger.feesMicro()));
    }

    function _edge(Dice memory dice) private pure returns (uint48) {
        uint256 kind = dice.between(0, 3);
        if (kind == 0) return type(uint48).max - uint48(dice.between(0, 2));
        if (kind == 1) return METERED_MAX_WH + uint48(dice.between(0, 2)) - 1;
        return uint48(dice.between(0, 4));
    }
}
