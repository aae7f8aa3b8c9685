// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {IEnergyLedger} from "../../src/interfaces/IEnergyLedger.sol";
import {Batches, TestOrder} from "../base/Batches.sol";
import {Community} from "../base/Community.sol";
import {VM} from "../base/Vm.sol";

/// @title SettleBatchTest: what a batch does, and each reason for which it is refused
contract SettleBatchTest is Community {
    function setUp() public override {
        super.setUp();
        fund(alice);
        fund(bob);
        fund(carol);
    }

    /* WHAT IT DOES */

    function testMovesEnergyAndMoney() external {
        TestOrder[] memory orders = trade(1500);
        orders[0].meteredWh = 2000;
        orders[1].meteredWh = 1200;
        settle(START, orders);
        VM.assertEq(moneyOf(alice), PURSE_MICRO + 300_000, "1.5 kWh at 0.20");
        VM.assertEq(moneyOf(bob), PURSE_MICRO - 300_000, "the buyer paid it");
        VM.assertEq(energyOf(alice), 500, "produced and not sold");
        VM.assertEq(energyOf(bob), 300, "bought and not used");
        VM.assertEq(ledger.energyWhTotal(), 800, "minted less burned");
    }

    function testMarksTheInterval() external {
        settle(START, trade(1));
        (,, uint256 epoch, uint256 used) = ledger.accountOf(alice);
        VM.assertEq(epoch, 0, "first epoch");
        VM.assertEq(used, 1 << 10, "interval 10");
    }

    function testEmitsRootsAndSums() external {
        TestOrder[] memory orders = trade(1500);
        orders[0].meteredWh = 2000;
        orders[1].meteredWh = 1200;
        bytes memory rows = Batches.pack(ledger, START, orders);
        VM.expectEmit(address(ledger));
        emit IEnergyLedger.BatchSettled(
            START, keccak256(rows), "readings", "receipts", 1500, 300_000, 2000, 1200
        );
        settleRows(START, rows);
    }

    function testSeveralOrdersOfOneAccount() external {
        TestOrder[] memory orders = new TestOrder[](4);
        orders[0] = Batches.sell(ALICE, 700, PRICE, PRICE);
        orders[1] = Batches.sell(ALICE, 300, PRICE, PRICE);
        orders[1].terms = "another order";
        orders[2] = Batches.buy(BOB, 600, PRICE, PRICE);
        orders[3] = Batches.buy(CAROL, 400, PRICE, PRICE);
        settle(START, orders);
        VM.assertEq(moneyOf(alice), PURSE_MICRO + 200_000, "both sales");
        VM.assertEq(moneyOf(bob), PURSE_MICRO - 120_000, "bob's share");
        VM.assertEq(moneyOf(carol), PURSE_MICRO - 80_000, "carol's share");
    }

    function testAnAccountMayBuyAndSell() external {
        TestOrder[] memory orders = new TestOrder[](4);
        orders[0] = Batches.sell(ALICE, 700, PRICE, PRICE);
        orders[1] = Batches.buy(ALICE, 300, PRICE, PRICE);
        orders[2] = Batches.buy(BOB, 700, PRICE, PRICE);
        orders[3] = Batches.sell(CAROL, 300, PRICE, PRICE);
        settle(START, orders);
        VM.assertEq(moneyOf(alice), PURSE_MICRO + 80_000, "sold 140000, bought 60000");
    }

    function testPartialExecution() external {
        TestOrder[] memory orders = trade(1500);
        orders[0].signedWh = 9000;
        orders[1].signedWh = 1501;
        settle(START, orders);
        VM.assertEq(moneyOf(bob), PURSE_MICRO - 300_000, "only what was executed");
    }

    function testMarketOrdersKeepToThePriceBand() external {
        TestOrder[] memory orders = trade(1000);
        orders[0].limit = -type(int64).max;
        orders[1].limit = type(int64).max;
        (orders[0].value, orders[1].value) = (PRICE_MAX, PRICE_MAX);
        settle(START, orders);
        VM.assertEq(moneyOf(alice), PURSE_MICRO + 1_000_000, "the highest price");
    }

    function testNegativePricePaysTheBuyer() external {
        int64 price = -40_000;
        TestOrder[] memory orders =
            pair(Batches.sell(ALICE, 1000, price, price), Batches.buy(BOB, 1000, price, price));
        VM.expectEmit(address(ledger));
        emit IEnergyLedger.BatchSettled(
            START,
            keccak256(Batches.pack(ledger, START, orders)),
            "readings",
            "receipts",
            1000,
            40_000,
            1000,
            1000
        );
        settle(START, orders);
        VM.assertEq(moneyOf(alice), PURSE_MICRO - 40_000, "the seller pays");
        VM.assertEq(moneyOf(bob), PURSE_MICRO + 40_000, "the buyer receives");
    }

    function testSellersNeedNoDeposit() external {
        TestOrder[] memory orders =
            pair(Batches.sell(0x5E11, 1000, PRICE, PRICE), Batches.buy(BOB, 1000, PRICE, PRICE));
        settle(START, orders);
        VM.assertEq(moneyOf(VM.addr(0x5E11)), 200_000, "earned");
    }

    function testOneIntervalOfDifferentAccountsInTwoBatches() external {
        settle(START, trade(1000));
        fund(VM.addr(0x5E11));
        settle(
            START,
            pair(Batches.sell(0x5E11, 500, PRICE, PRICE), Batches.buy(CAROL, 500, PRICE, PRICE))
        );
        VM.assertEq(moneyOf(carol), PURSE_MICRO - 100_000, "the second batch");
    }

    function testIntervalsInAnyOrderWithinAnEpoch() external {
        settle(START, trade(1000));
        settle(START - 3 * INTERVAL_S, trade(1000));
        (,,, uint256 used) = ledger.accountOf(bob);
        VM.assertEq(used, 1 << 10 | 1 << 7, "both intervals");
    }

    /* WHO AND WHEN */

    function testRefusesOthersThanTheOperator() external {
        bytes memory rows = Batches.pack(ledger, START, trade(1));
        VM.expectRevert(
            abi.encodeWithSignature("AccessManagedUnauthorized(address)", address(this))
        );
        ledger.settleBatch(START, 0, 0, rows);
    }

    function testRefusesWhilePaused() external {
        VM.prank(guardian);
        ledger.setPaused(true);
        _refused(START, trade(1), abi.encodeWithSelector(IEnergyLedger.TradingPaused.selector));
        VM.prank(guardian);
        ledger.setPaused(false);
        settle(START, trade(1));
    }

    function testRefusesBeforeTheDeliveryIsOver() external {
        uint64 next = START + INTERVAL_S;
        VM.warp(next + INTERVAL_S - 1);
        _refused(
            next,
            trade(1),
            abi.encodeWithSelector(IEnergyLedger.DeliveryNotOver.selector, next, next + INTERVAL_S)
        );
        VM.warp(next + INTERVAL_S);
        settle(next, trade(1));
    }

    function testRefusesAMisalignedInterval() external {
        _refused(
            START - 1,
            trade(1),
            abi.encodeWithSelector(IEnergyLedger.DeliveryMisaligned.selector, START - 1)
        );
    }

    function testRefusesAnIntervalBeforeGenesis() external {
        _refused(
            GENESIS - INTERVAL_S,
            trade(1),
            abi.encodeWithSelector(IEnergyLedger.DeliveryOutOfRange.selector, GENESIS - INTERVAL_S)
        );
    }

    function testRefusesAnIntervalAfterTheLastEpoch() external {
        uint64 last = GENESIS + (2 ** 16 * 96 - 1) * INTERVAL_S;
        VM.warp(last + 2 * INTERVAL_S);
        settle(last, trade(1));
        (,, uint256 epoch, uint256 used) = ledger.accountOf(alice);
        VM.assertEq(epoch, type(uint16).max, "the last epoch");
        VM.assertEq(used, 1 << 95, "the last interval");
        _refused(
            last + INTERVAL_S,
            trade(1),
            abi.encodeWithSelector(IEnergyLedger.DeliveryOutOfRange.selector, last + INTERVAL_S)
        );
    }

    /* REPLAY */

    function testRefusesAUsedInterval() external {
        settle(START, trade(1));
        _refused(START, trade(1), _byFirst(IEnergyLedger.AccountIntervalUsed.selector));
    }

    function testEpochOnlyAdvances() external {
        uint64 next = GENESIS + 96 * INTERVAL_S;
        VM.warp(next + INTERVAL_S);
        settle(START, trade(1));
        settle(next, trade(1));
        (,, uint256 epoch, uint256 used) = ledger.accountOf(alice);
        VM.assertEq(epoch, 1, "the next epoch");
        VM.assertEq(used, 1, "its first interval");
        _refused(
            next - INTERVAL_S,
            trade(1),
            abi.encodeWithSelector(IEnergyLedger.AccountEpochPassed.selector, _first(), 1)
        );
    }

    function testRefusesAnOrderTwiceInOneBatch() external {
        bytes memory sale = Batches.row(ledger, START, Batches.sell(ALICE, 10, PRICE, PRICE));
        bytes memory rows = bytes.concat(sale, sale);
        bytes32 digest = Batches.digestOf(ledger, START, Batches.sell(ALICE, 10, PRICE, PRICE));
        _refusedRows(
            rows, abi.encodeWithSelector(IEnergyLedger.RowOrderNotAscending.selector, alice, digest)
        );
    }

    function testRefusesAnAccountTwiceInOneBatch() external {
        TestOrder[] memory orders = trade(10);
        Batches.sort(ledger, START, orders);
        TestOrder memory again = Batches.sell(orders[0].key, 10, PRICE, PRICE);
        again.terms = "again";
        bytes memory rows =
            bytes.concat(Batches.pack(ledger, START, orders), Batches.row(ledger, START, again));
        _refusedRows(
            rows,
            abi.encodeWithSelector(
                IEnergyLedger.RowAccountNotAscending.selector, VM.addr(orders[0].key)
            )
        );
    }

    function testCancelledIntervalCannotBeSettled() external {
        VM.expectEmit(address(ledger));
        emit IEnergyLedger.IntervalCancelled(_first(), START);
        VM.prank(_first());
        ledger.cancelInterval(START);
        _refused(START, trade(1), _byFirst(IEnergyLedger.AccountIntervalUsed.selector));
        VM.prank(_first());
        VM.expectRevert(_byFirst(IEnergyLedger.AccountIntervalUsed.selector));
        ledger.cancelInterval(START);
    }

    function testBothSidesEnergyAndMoneyMustMatch() external {
        TestOrder[] memory orders = trade(1500);
        orders[1].limit = PRICE + 1000;
        orders[1].executedWh = 1499;
        orders[1].meteredWh = 1499;
        _refused(
            START,
            orders,
            abi.encodeWithSelector(IEnergyLedger.BatchUnbalanced.selector, int256(1), int256(0))
        );
        orders = trade(1500);
        orders[1].value -= 1;
        _refused(
            START,
            orders,
            abi.encodeWithSelector(IEnergyLedger.BatchUnbalanced.selector, int256(0), int256(1))
        );
    }

    function testRefusesOddLengths() external {
        _refusedRows("", abi.encodeWithSelector(IEnergyLedger.BatchLengthInvalid.selector, 0));
        bytes memory rows = bytes.concat(Batches.pack(ledger, START, trade(1)), hex"00");
        _refusedRows(rows, abi.encodeWithSelector(IEnergyLedger.BatchLengthInvalid.selector, 307));
    }

    /* EACH ROW */

    function testRefusesMoreThanSigned() external {
        TestOrder[] memory orders = trade(1500);
        orders[0].signedWh = 1499;
        _refused(
            START,
            orders,
            abi.encodeWithSelector(
                IEnergyLedger.RowExecutedInvalid.selector, _digest(orders[0]), 1500, 1499
            )
        );
    }

    function testRefusesZeroEnergy() external {
        TestOrder[] memory orders = trade(0);
        Batches.sort(ledger, START, orders);
        _refused(
            START,
            orders,
            abi.encodeWithSelector(
                IEnergyLedger.RowExecutedInvalid.selector, _digest(orders[0]), 0, 0
            )
        );
    }

    function testRefusesNoTradesAndMoreTradesThanEnergy() external {
        TestOrder[] memory orders = trade(3);
        orders[0].trades = 0;
        _refused(
            START,
            orders,
            abi.encodeWithSelector(
                IEnergyLedger.RowTradesInvalid.selector, _digest(orders[0]), 0, 3
            )
        );
        orders = trade(3);
        orders[1].trades = 4;
        _refused(
            START,
            orders,
            abi.encodeWithSelector(
                IEnergyLedger.RowTradesInvalid.selector, _digest(orders[1]), 4, 3
            )
        );
    }

    function testBuyersLimitHoldsToTheUnit() external {
        TestOrder[] memory orders = trade(1500);
        orders[0].value = 300_001;
        orders[1].value = 300_001;
        _refused(START, orders, _limitBroken(orders[1]));
    }

    function testSellersLimitHoldsToTheRounding() external {
        TestOrder[] memory orders = trade(1500);
        (orders[0].value, orders[1].value) = (299_999, 299_999);
        _refused(START, orders, _limitBroken(orders[0]));
        orders = trade(1500);
        (orders[0].value, orders[1].value) = (299_999, 299_999);
        orders[0].trades = 2;
        settle(START, orders); // two trades may lose up to one unit each, less than two
    }

    function testPriceBandHoldsBothWays() external {
        TestOrder[] memory orders = trade(1000);
        orders[1].limit = type(int64).max;
        (orders[0].value, orders[1].value) = (PRICE_MAX + 1, PRICE_MAX + 1);
        Batches.sort(ledger, START, orders);
        _refused(START, orders, _outsideBand(orders[0]));
        orders = trade(1000);
        orders[0].limit = -type(int64).max;
        (orders[0].value, orders[1].value) = (PRICE_MIN - 1, PRICE_MIN - 1);
        Batches.sort(ledger, START, orders);
        _refused(START, orders, _outsideBand(orders[0]));
        (orders[0].value, orders[1].value) = (PRICE_MIN, PRICE_MIN);
        settle(START, orders);
    }

    function testSellerMustHaveProducedWhatItSold() external {
        TestOrder[] memory orders = trade(1500);
        orders[0].meteredWh = 1499;
        _refused(START, orders, _meteredInvalid(orders[0], 1499, 1500));
    }

    function testBuyerBurnsNoMoreThanItBought() external {
        TestOrder[] memory orders = trade(1500);
        orders[1].meteredWh = 1501;
        _refused(START, orders, _meteredInvalid(orders[1], 1501, 1500));
    }

    function testProductionIsCappedPerAccount() external {
        TestOrder[] memory orders = new TestOrder[](3);
        orders[0] = Batches.sell(ALICE, 10, PRICE, PRICE);
        orders[1] = Batches.sell(ALICE, 20, PRICE, PRICE);
        orders[2] = Batches.buy(BOB, 30, PRICE, PRICE);
        orders[0].meteredWh = uint48(METERED_MAX_WH - 20);
        orders[1].meteredWh = 21;
        _refused(
            START,
            orders,
            abi.encodeWithSelector(
                IEnergyLedger.AccountMeteredTooMuch.selector,
                alice,
                METERED_MAX_WH + 1,
                METERED_MAX_WH
            )
        );
    }

    function testTheCapIsEachAccountsOwn() external {
        TestOrder[] memory orders = new TestOrder[](3);
        orders[0] = Batches.sell(ALICE, 10, PRICE, PRICE);
        orders[1] = Batches.sell(CAROL, 20, PRICE, PRICE);
        orders[2] = Batches.buy(BOB, 30, PRICE, PRICE);
        orders[0].meteredWh = uint48(METERED_MAX_WH);
        orders[1].meteredWh = uint48(METERED_MAX_WH);
        settle(START, orders);
        VM.assertEq(ledger.energyWhTotal(), 2 * METERED_MAX_WH - 30, "both minted the most");
    }

    function testRefusesAnUnknownSide() external {
        TestOrder[] memory orders = trade(1);
        orders[0].side = 2;
        _refused(
            START,
            orders,
            abi.encodeWithSelector(IEnergyLedger.RowSideInvalid.selector, _digest(orders[0]), 2)
        );
    }

    function testRefusesABuyerWithoutMoney() external {
        uint256 poor = 0x9008;
        fund(VM.addr(poor), 100);
        TestOrder[] memory orders =
            pair(Batches.sell(ALICE, 1000, PRICE, PRICE), Batches.buy(poor, 1000, PRICE, PRICE));
        _refused(
            START,
            orders,
            abi.encodeWithSelector(
                IEnergyLedger.AccountMoneyInsufficient.selector, VM.addr(poor), 100, 200_000
            )
        );
    }

    function testRefusesAFullAccount() external {
        fund(alice, type(uint72).max - PURSE_MICRO);
        _refused(
            START,
            trade(1000),
            abi.encodeWithSelector(IEnergyLedger.AccountOverflow.selector, alice)
        );
    }

    /* HELP */

    /// @dev The account of `trade` whose rows come first.
    function _first() private view returns (address) {
        return alice < bob ? alice : bob;
    }

    function _byFirst(bytes4 selector) private view returns (bytes memory) {
        return abi.encodeWithSelector(selector, _first());
    }

    function _digest(TestOrder memory order) private view returns (bytes32) {
        return Batches.digestOf(ledger, START, order);
    }

    function _limitBroken(TestOrder memory order) private view returns (bytes memory) {
        return abi.encodeWithSelector(
            IEnergyLedger.RowLimitBroken.selector, _digest(order), int256(order.value)
        );
    }

    function _outsideBand(TestOrder memory order) private view returns (bytes memory) {
        return abi.encodeWithSelector(
            IEnergyLedger.RowOutsidePriceBand.selector, _digest(order), int256(order.value)
        );
    }

    function _meteredInvalid(TestOrder memory order, uint256 metered, uint256 executed)
        private
        view
        returns (bytes memory)
    {
        return abi.encodeWithSelector(
            IEnergyLedger.RowMeteredInvalid.selector, _digest(order), metered, executed
        );
    }

    function _refused(uint64 start, TestOrder[] memory orders, bytes memory why) private {
        bytes memory rows = Batches.pack(ledger, start, orders);
        VM.prank(operator);
        VM.expectRevert(why);
        ledger.settleBatch(start, 0, 0, rows);
    }

    function _refusedRows(bytes memory rows, bytes memory why) private {
        VM.prank(operator);
        VM.expectRevert(why);
        ledger.settleBatch(START, 0, 0, rows);
    }
}
