// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {IEnergyLedger} from "../../src/interfaces/IEnergyLedger.sol";
import {Batches, TestOrder} from "../base/Batches.sol";
import {LedgerTest} from "../base/LedgerTest.sol";
import {Dice, RandomBatch} from "../base/RandomBatch.sol";
import {VM} from "../base/Vm.sol";

/// @title SettleBatchFuzz: every honest batch passes; one wrong field and it is refused, for that reason
/// @dev Signing a batch takes milliseconds, hence fewer runs than elsewhere.
/// forge-config: default.fuzz.runs = 40
contract SettleBatchFuzz is LedgerTest {
    uint256 private constant ACCOUNTS = 5;
    uint256 private constant ROW = 159;

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
        VM.assertEq(int256(ledger.feesMicro()), RandomBatch.feesOf(orders), "fees");
    }

    function testFuzzNoBatchTwice(uint256 seed) external {
        bytes memory rows = Batches.pack(ledger, START, _orders(seed));
        settleRows(START, rows);
        refusedRows(rows, IEnergyLedger.AccountIntervalUsed.selector);
    }

    function testFuzzMoreThanSigned(uint256 seed, uint256 which) external {
        (TestOrder[] memory orders, uint256 i) = _pick(seed, which);
        orders[i].signedWh = orders[i].executedWh + orders[i].shortWh - 1;
        _refused(orders, IEnergyLedger.RowExecutedInvalid.selector);
    }

    /// @dev One unit worse than the limit, the market's band and its bounds of compensation allow.
    function testFuzzWorseThanTheLimit(uint256 seed, uint256 which) external {
        (TestOrder[] memory orders, uint256 i) = _pick(seed, which);
        TestOrder memory order = orders[i];
        int256 exact = _exact(order);
        order.value = order.side == Batches.BUY
            ? int64(_floor(exact) + 1)
            : int64(_floor(exact) - int256(uint256(order.trades)));
        _refused(orders, IEnergyLedger.RowLimitBroken.selector);
    }

    function testFuzzOutsideThePriceBand(uint256 seed, uint256 which) external {
        (TestOrder[] memory orders, uint256 i) = _pick(seed, which);
        bool buys = orders[i].side == Batches.BUY;
        orders[i].limit = buys ? type(int64).max : type(int64).min;
        int256 exact = _exact(orders[i]);
        orders[i].value = buys
            ? int64(_floor(exact) + 1)
            : int64(_floor(exact) - int256(uint256(orders[i].trades)));
        _refused(orders, IEnergyLedger.RowLimitBroken.selector);
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
        order.limit = order.side == Batches.BUY ? type(int64).max : type(int64).min;
        _refusedFor(
            orders, IEnergyLedger.BatchUnbalanced.selector, IEnergyLedger.RowLimitBroken.selector
        );
    }

    /// @dev One unit more than what was paid.
    function testFuzzMoneyFromNowhere(uint256 seed, uint256 which) external {
        (TestOrder[] memory orders, uint256 i) = _pick(seed, which);
        int64 missing = RandomBatch.feesOf(orders) + 1;
        orders[i].value += orders[i].side == Batches.BUY ? -missing : missing;
        _refused(orders, IEnergyLedger.BatchUnbalanced.selector);
    }

    /// @dev One unit more than the most that may be kept.
    function testFuzzTooHighFees(uint256 seed, uint256 which) external {
        (TestOrder[] memory orders, uint256 i) = _pick(seed, which);
        uint256 boughtWh;
        for (uint256 j; j < orders.length; ++j) {
            if (orders[j].side == Batches.BUY) boughtWh += orders[j].executedWh;
        }
        int64 more = int64(uint64(boughtWh * FEE_MAX / 1000)) + 1 - RandomBatch.feesOf(orders);
        orders[i].value += orders[i].side == Batches.BUY ? more : -more;
        _refusedFor(
            orders, IEnergyLedger.BatchFeesTooHigh.selector, IEnergyLedger.RowLimitBroken.selector
        );
    }

    function testFuzzNoTrades(uint256 seed, uint256 which) external {
        (TestOrder[] memory orders, uint256 i) = _pick(seed, which);
        // A buyer's trades are told, but bound nothing; half of the orders sell.
        while (orders[i].side == Batches.BUY) i = (i + 1) % orders.length;
        orders[i].trades = 0;
        _refused(orders, IEnergyLedger.RowTradesInvalid.selector);
    }

    /// @dev Any changed bit of what was signed, or of the signature.
    function testFuzzAlteredSignedBytes(uint256 seed, uint256 which, uint256 where) external {
        (TestOrder[] memory orders, uint256 i) = _pick(seed, which);
        bytes memory rows = Batches.pack(ledger, START, orders);
        // limit and signed energy are bytes 21..35, terms hash and signature 63..159
        where = where % (14 + 96) * 8 + where / 256 % 8;
        uint256 inRow = where / 8 < 14 ? 21 + where / 8 : 63 + where / 8 - 14;
        rows[ROW * i + inRow] ^= bytes1(uint8(1 << where % 8));
        (bool success, bytes memory why) = trySettle(START, rows);
        VM.assertFalse(success, "settled something unsigned");
        // An altered order has another digest, which may also stand in the wrong place.
        VM.assertTrue(
            bytes4(why) == IEnergyLedger.RowSignatureInvalid.selector
                || bytes4(why) == IEnergyLedger.RowOrderNotAscending.selector,
            "for its signature"
        );
    }

    function testFuzzOtherInterval(uint256 seed) external {
        bytes memory rows = Batches.pack(ledger, START, _orders(seed));
        (bool success,) = trySettle(START - INTERVAL_S, rows);
        VM.assertFalse(success, "orders count for one interval");
    }

    function testFuzzMissingRow(uint256 seed, uint256 which) external {
        (TestOrder[] memory orders, uint256 i) = _pick(seed, which);
        bytes memory rows = Batches.pack(ledger, START, orders);
        bytes memory fewer = new bytes(rows.length - ROW);
        for (uint256 j; j < fewer.length; ++j) {
            fewer[j] = rows[j < ROW * i ? j : j + ROW];
        }
        refusedRows(fewer, IEnergyLedger.BatchUnbalanced.selector);
    }

    /* HELP */

    function _orders(uint256 seed) private view returns (TestOrder[] memory) {
        return RandomBatch.make(Dice(seed, 0), keys, termsOf(address(currency)));
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
        refusedRows(Batches.pack(ledger, START, orders), why);
    }

    /// @dev One unit too much may also leave the limit, when it was at the edge.
    function _refusedFor(TestOrder[] memory orders, bytes4 one, bytes4 other) private {
        (bool success, bytes memory why) = trySettle(START, Batches.pack(ledger, START, orders));
        VM.assertFalse(success, "made something from nothing");
        VM.assertTrue(bytes4(why) == one || bytes4(why) == other, "for its sum");
    }

    /// @dev The value at which the order is just good, in thousandths of a unit.
    function _exact(TestOrder memory order) private pure returns (int256 exact) {
        int256 limit = order.limit;
        if (limit > PRICE_MAX) limit = PRICE_MAX;
        if (limit < PRICE_MIN) limit = PRICE_MIN;
        exact = int256(uint256(order.executedWh)) * limit;
        int256 perKwh =
            order.side == Batches.BUY ? limit - UNDER_USE_PRICE_MIN : limit - SHORTFALL_PRICE_MAX;
        bool counts = order.side == Batches.BUY ? perKwh > 0 : perKwh < 0;
        if (counts) exact += int256(uint256(order.shortWh)) * perKwh;
    }

    function _floor(int256 milli) private pure returns (int256) {
        return milli / 1000 - (milli % 1000 < 0 ? int256(1) : int256(0));
    }
}
