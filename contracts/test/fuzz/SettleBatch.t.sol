// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {IEnergyLedger} from "../../src/interfaces/IEnergyLedger.sol";
import {Batches, TestOrder} from "../base/Batches.sol";
import {Community} from "../base/Community.sol";
import {Dice, RandomBatch} from "../base/RandomBatch.sol";
import {VM} from "../base/Vm.sol";

/// @title SettleBatchFuzz: every honest batch passes; one wrong field and it is refused, for that reason
/// @dev Signing a batch takes milliseconds, hence fewer runs than elsewhere.
/// forge-config: default.fuzz.runs = 200
contract SettleBatchFuzz is Community {
    uint256 private constant ACCOUNTS = 5;

    uint256[] private keys;
    mapping(address account => int256 moneyMicro) private money;
    mapping(address account => int256 energyWh) private energy;

    function setUp() public override {
        super.setUp();
        for (uint256 i; i < ACCOUNTS; ++i) {
            keys.push(0xF0220 + i);
            fund(VM.addr(keys[i]));
        }
    }

    /// @dev The balances are those of a second, plain computation.
    function testFuzzHonestBatchesPass(uint256 seed) external {
        TestOrder[] memory orders = _orders(seed);
        settle(START, orders);
        int256 totalWh;
        for (uint256 i; i < orders.length; ++i) {
            TestOrder memory order = orders[i];
            int256 sign = order.side == Batches.SELL ? int256(1) : int256(-1);
            int256 keptWh = int256(uint256(order.meteredWh)) - int256(uint256(order.executedWh));
            money[VM.addr(order.key)] += sign * order.value;
            energy[VM.addr(order.key)] += sign * keptWh;
            totalWh += sign * keptWh;
        }
        for (uint256 i; i < ACCOUNTS; ++i) {
            address account = VM.addr(keys[i]);
            VM.assertEq(int256(moneyOf(account)), int256(PURSE_MICRO) + money[account], "money");
            VM.assertEq(int256(energyOf(account)), energy[account], "energy");
        }
        VM.assertEq(int256(ledger.energyWhTotal()), totalWh, "supply");
    }

    function testFuzzNoBatchTwice(uint256 seed) external {
        bytes memory rows = Batches.pack(ledger, START, _orders(seed));
        settleRows(START, rows);
        _refused(rows, IEnergyLedger.AccountIntervalUsed.selector);
    }

    function testFuzzMoreThanSigned(uint256 seed, uint256 which) external {
        (TestOrder[] memory orders, uint256 i) = _pick(seed, which);
        orders[i].signedWh = orders[i].executedWh - 1;
        _refused(orders, IEnergyLedger.RowExecutedInvalid.selector);
    }

    function testFuzzWorseThanTheLimit(uint256 seed, uint256 which) external {
        (TestOrder[] memory orders, uint256 i) = _pick(seed, which);
        TestOrder memory order = orders[i];
        int256 worst;
        if (order.side == Batches.BUY) {
            if (order.limit >= PRICE_MAX) return; // then the band is the limit
            worst = _floor(int256(uint256(order.executedWh)) * order.limit) + 1;
        } else {
            if (order.limit <= PRICE_MIN) return;
            worst = _floor(int256(uint256(order.executedWh)) * order.limit)
                - int256(uint256(order.trades));
        }
        order.value = int64(worst);
        _refused(orders, IEnergyLedger.RowLimitBroken.selector);
    }

    function testFuzzOutsideThePriceBand(uint256 seed, uint256 which, bool above) external {
        (TestOrder[] memory orders, uint256 i) = _pick(seed, which);
        TestOrder memory order = orders[i];
        order.limit = order.side == Batches.BUY ? type(int64).max : -type(int64).max;
        int256 executed = int256(uint256(order.executedWh));
        order.value = above
            ? int64(_floor(executed * PRICE_MAX) + 1)
            : int64(_floor(executed * PRICE_MIN) - int256(uint256(order.trades)));
        _refused(orders, IEnergyLedger.RowOutsidePriceBand.selector);
    }

    function testFuzzMeteredWrongly(uint256 seed, uint256 which) external {
        (TestOrder[] memory orders, uint256 i) = _pick(seed, which);
        bool buys = orders[i].side == Batches.BUY;
        orders[i].meteredWh = buys ? orders[i].executedWh + 1 : orders[i].executedWh - 1;
        _refused(orders, IEnergyLedger.RowMeteredInvalid.selector);
    }

    function testFuzzEnergyFromNowhere(uint256 seed, uint256 which) external {
        (TestOrder[] memory orders, uint256 i) = _pick(seed, which);
        TestOrder memory order = orders[i];
        order.executedWh += 1;
        order.signedWh += 1;
        order.meteredWh = order.executedWh;
        order.limit = order.side == Batches.BUY ? type(int64).max : -type(int64).max;
        _refusedByBalanceOrBand(orders);
    }

    function testFuzzMoneyFromNowhere(uint256 seed, uint256 which) external {
        (TestOrder[] memory orders, uint256 i) = _pick(seed, which);
        TestOrder memory order = orders[i];
        order.value += order.side == Batches.BUY ? int64(-1) : int64(1);
        _refusedByBalanceOrBand(orders);
    }

    function testFuzzNoTrades(uint256 seed, uint256 which) external {
        (TestOrder[] memory orders, uint256 i) = _pick(seed, which);
        orders[i].trades = 0;
        _refused(orders, IEnergyLedger.RowTradesInvalid.selector);
    }

    /// @dev Any changed bit of what was signed, or of the signature.
    function testFuzzAlteredSignedBytes(uint256 seed, uint256 which, uint256 where) external {
        (TestOrder[] memory orders, uint256 i) = _pick(seed, which);
        bytes memory rows = Batches.pack(ledger, START, orders);
        // limit and signed energy are bytes 21..35, terms hash and signature 57..153
        where = where % (14 + 96) * 8 + where / 256 % 8;
        uint256 inRow = where / 8 < 14 ? 21 + where / 8 : 57 + where / 8 - 14;
        rows[153 * i + inRow] ^= bytes1(uint8(1 << where % 8));
        VM.prank(operator);
        // An altered order has another digest, which may also stand in the wrong place.
        (bool success, bytes memory why) =
            address(ledger).call(abi.encodeCall(IEnergyLedger.settleBatch, (START, 0, 0, rows)));
        VM.assertFalse(success, "settled something unsigned");
        bytes4 selector = bytes4(why);
        VM.assertTrue(
            selector == IEnergyLedger.RowSignatureInvalid.selector
                || selector == IEnergyLedger.RowOrderNotAscending.selector,
            "for its signature"
        );
    }

    function testFuzzOtherInterval(uint256 seed) external {
        bytes memory rows = Batches.pack(ledger, START, _orders(seed));
        VM.prank(operator);
        VM.expectRevert();
        ledger.settleBatch(START - INTERVAL_S, 0, 0, rows);
    }

    function testFuzzMissingRow(uint256 seed, uint256 which) external {
        (TestOrder[] memory orders, uint256 i) = _pick(seed, which);
        bytes memory rows = Batches.pack(ledger, START, orders);
        bytes memory fewer = new bytes(rows.length - 153);
        for (uint256 j; j < fewer.length; ++j) {
            fewer[j] = rows[j < 153 * i ? j : j + 153];
        }
        _refused(fewer, IEnergyLedger.BatchUnbalanced.selector);
    }

    /* HELP */

    function _orders(uint256 seed) private view returns (TestOrder[] memory) {
        return RandomBatch.make(Dice(seed, 0), keys, PRICE_MIN, PRICE_MAX);
    }

    function _pick(uint256 seed, uint256 which)
        private
        view
        returns (TestOrder[] memory orders, uint256)
    {
        orders = _orders(seed);
        Batches.sort(ledger, START, orders);
        return (orders, which % orders.length);
    }

    function _refused(TestOrder[] memory orders, bytes4 why) private {
        _refused(Batches.pack(ledger, START, orders), why);
    }

    function _refused(bytes memory rows, bytes4 why) private {
        VM.prank(operator);
        VM.expectPartialRevert(why);
        ledger.settleBatch(START, 0, 0, rows);
    }

    /// @dev One unit too much may also leave the limit or the price band, when it was at the edge.
    function _refusedByBalanceOrBand(TestOrder[] memory orders) private {
        bytes memory rows = Batches.pack(ledger, START, orders);
        VM.prank(operator);
        (bool success, bytes memory why) =
            address(ledger).call(abi.encodeCall(IEnergyLedger.settleBatch, (START, 0, 0, rows)));
        VM.assertFalse(success, "made something from nothing");
        bytes4 selector = bytes4(why);
        VM.assertTrue(
            selector == IEnergyLedger.BatchUnbalanced.selector
                || selector == IEnergyLedger.RowOutsidePriceBand.selector
                || selector == IEnergyLedger.RowLimitBroken.selector,
            "for its balance"
        );
    }

    function _floor(int256 milli) private pure returns (int256) {
        return milli / 1000 - (milli % 1000 < 0 ? int256(1) : int256(0));
    }
}
