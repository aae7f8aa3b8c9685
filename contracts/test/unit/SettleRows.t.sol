// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {IEnergyLedger} from "../../src/interfaces/IEnergyLedger.sol";
import {Batches, TestOrder} from "../base/Batches.sol";
import {LedgerTest} from "../base/LedgerTest.sol";
import {VM} from "../base/Vm.sol";

/// @title SettleRowsTest: each reason for which a batch's row is refused, to the unit
contract SettleRowsTest is LedgerTest {
    function setUp() public override {
        super.setUp();
        fund(alice);
        fund(bob);
        fund(carol);
    }

    /* WHAT WAS SIGNED */

    function testRefusesMoreThanSigned() external {
        TestOrder[] memory orders = trade(1500);
        orders[0].signedWh = 1499;
        refused(START, orders, _executedInvalid(orders[0], 1500));
        orders = trade(1500);
        orders[1].signedWh = 1499;
        refused(START, orders, _executedInvalid(orders[1], 1500));
    }

    function testExecutedAndShortTogetherKeepToWhatWasSigned() external {
        TestOrder[] memory orders = _short(1000, 500);
        orders[0].signedWh = 1499;
        refused(START, orders, _executedInvalid(orders[0], 1500));
        orders = _short(1000, 500);
        orders[1].signedWh = 1499;
        refused(START, orders, _executedInvalid(orders[1], 1500));
        settle(START, _short(1000, 500));
    }

    function testRefusesZeroEnergy() external {
        TestOrder[] memory orders = trade(0);
        Batches.sort(ledger, START, orders);
        refused(START, orders, _executedInvalid(orders[0], 0));
    }

    function testZeroEnergyUsesUpNothing() external {
        // A row that trades nothing would cost its owner the interval.
        TestOrder[] memory orders = new TestOrder[](3);
        orders[0] = trade(10)[0];
        orders[1] = trade(10)[1];
        orders[2] = Batches.buy(CAROL, 10, PRICE, PRICE);
        (orders[2].executedWh, orders[2].meteredWh, orders[2].value) = (0, 0, 0);
        refused(START, orders, _executedInvalid(orders[2], 0));
    }

    function testRefusesNoTradesAndMoreTradesThanEnergy() external {
        TestOrder[] memory orders = trade(3);
        orders[0].trades = 0;
        refused(START, orders, _tradesInvalid(orders[0], 0, 3));
        orders[0].limit = 0; // also well above its limit
        refused(START, orders, _tradesInvalid(orders[0], 0, 3));
        orders[0].trades = 4;
        refused(START, orders, _tradesInvalid(orders[0], 4, 3));
        orders[0].trades = 3;
        settle(START, orders);
    }

    function testTradesCountWhatWasShortToo() external {
        TestOrder[] memory orders = _short(2, 1);
        (orders[0].value, orders[1].value) = (300, 300);
        orders[0].trades = 4;
        refused(START, orders, _tradesInvalid(orders[0], 4, 3));
        orders[0].trades = 3;
        settle(START, orders);
    }

    function testRefusesAnUnknownSide() external {
        TestOrder[] memory orders = trade(1);
        orders[0].side = 2;
        refused(
            START,
            orders,
            abi.encodeWithSelector(IEnergyLedger.RowSideInvalid.selector, digest(orders[0]), 2)
        );
    }

    /* LIMITS */

    function testBuyersLimitHoldsToTheUnit() external {
        TestOrder[] memory orders = trade(1500);
        orders[0].value = 300_001;
        orders[1].value = 300_001;
        refused(START, orders, _limitBroken(orders[1]));
    }

    function testSellersLimitHoldsToTheRounding() external {
        TestOrder[] memory orders = trade(1500);
        (orders[0].value, orders[1].value) = (299_999, 299_999);
        refused(START, orders, _limitBroken(orders[0]));
        orders = trade(1500);
        (orders[0].value, orders[1].value) = (299_999, 299_999);
        orders[0].trades = 2;
        settle(START, orders); // two trades may lose up to one unit each, less than two
    }

    function testPriceBandHoldsBothWays() external {
        TestOrder[] memory orders = trade(1000);
        orders[1].limit = type(int64).max;
        (orders[0].value, orders[1].value) = (PRICE_MAX + 1, PRICE_MAX + 1);
        refused(START, orders, _limitBroken(orders[1]));
        orders = trade(1000);
        orders[0].limit = type(int64).min;
        (orders[0].value, orders[1].value) = (PRICE_MIN - 1, PRICE_MIN - 1);
        refused(START, orders, _limitBroken(orders[0]));
        (orders[0].value, orders[1].value) = (PRICE_MIN, PRICE_MIN);
        settle(START, orders);
    }

    function testValuesAtTheTypesEnds() external {
        TestOrder[] memory orders = trade(1000);
        orders[0].limit = type(int64).min;
        orders[1].limit = type(int64).max;
        (orders[0].value, orders[1].value) = (type(int64).max, type(int64).max);
        refused(START, orders, _limitBroken(orders[1]));
        (orders[0].value, orders[1].value) = (type(int64).min, type(int64).min);
        refused(START, orders, _limitBroken(orders[0]));
    }

    function testTheLargestTrade() external {
        IEnergyLedger.Terms memory terms = termsOf(address(currency));
        (terms.priceMin, terms.priceMax) = (-1e12, 1e12);
        terms.meteredMaxWh = type(uint48).max;
        ledger = newLedger(terms);
        fund(bob, uint256(uint64(type(int64).max)));
        TestOrder[] memory orders = trade(type(uint48).max);
        orders[1].limit = type(int64).max;
        (orders[0].value, orders[1].value) = (type(int64).max, type(int64).max);
        settle(START, orders);
        VM.assertEq(moneyOf(alice), uint256(uint64(type(int64).max)), "all of it");
        VM.assertEq(moneyOf(bob), 0, "paid");
    }

    /* COMPENSATION */

    /// @dev 0.20 for each executed kWh, less at most 0.40 - 0.20 for each that it failed to deliver.
    function testASellersCompensationHoldsToTheUnit() external {
        TestOrder[] memory orders = _short(1000, 500);
        (orders[0].value, orders[1].value) = (99_999, 99_999);
        refused(START, orders, _limitBroken(orders[0]));
        (orders[0].value, orders[1].value) = (100_000, 100_000);
        settle(START, orders);
        VM.assertEq(moneyOf(alice), PURSE_MICRO + 100_000, "sold 200000, answered for 100000");
    }

    function testASellerThatDeliveredNothingPays() external {
        TestOrder[] memory orders = _short(0, 1000);
        (orders[0].value, orders[1].value) = (-200_001, -200_001);
        refused(START, orders, _limitBroken(orders[0]));
        (orders[0].value, orders[1].value) = (-200_000, -200_000);
        settle(START, orders);
        VM.assertEq(moneyOf(bob), PURSE_MICRO + 200_000, "compensated");
        VM.assertEq(energyOf(alice) + energyOf(bob), 0, "no energy");
    }

    function testNoCompensationFromTheShortfallPriceOn() external {
        TestOrder[] memory orders = pair(
            Batches.sell(ALICE, 1500, SHORTFALL_PRICE_MAX, SHORTFALL_PRICE_MAX),
            Batches.buy(BOB, 1500, SHORTFALL_PRICE_MAX, SHORTFALL_PRICE_MAX)
        );
        _shorten(orders, 500);
        (orders[0].value, orders[1].value) = (399_999, 399_999);
        refused(START, orders, _limitBroken(orders[0]));
        // Above it, the rule must not turn into a bonus either.
        orders[0].limit = orders[1].limit = SHORTFALL_PRICE_MAX + 100_000;
        (orders[0].value, orders[1].value) = (499_999, 499_999);
        refused(START, orders, _limitBroken(orders[0]));
        (orders[0].value, orders[1].value) = (500_000, 500_000);
        settle(START, orders);
    }

    function testAMarketSellersCompensationCountsFromTheBand() external {
        TestOrder[] memory orders = _short(0, 1000);
        orders[0].limit = type(int64).min;
        int64 worst = PRICE_MIN - SHORTFALL_PRICE_MAX;
        (orders[0].value, orders[1].value) = (worst - 1, worst - 1);
        refused(START, orders, _limitBroken(orders[0]));
        (orders[0].value, orders[1].value) = (worst, worst);
        settle(START, orders);
    }

    /// @dev 0.20 for each executed kWh, and at most 0.20 - 0.08 for each that it did not take.
    function testABuyersCompensationHoldsToTheUnit() external {
        TestOrder[] memory orders = _short(1000, 500);
        (orders[0].value, orders[1].value) = (260_001, 260_001);
        refused(START, orders, _limitBroken(orders[1]));
        (orders[0].value, orders[1].value) = (260_000, 260_000);
        settle(START, orders);
        VM.assertEq(moneyOf(bob), PURSE_MICRO - 260_000, "bought 200000, answered for 60000");
    }

    function testNoCompensationUpToTheUnderUsePrice() external {
        TestOrder[] memory orders = pair(
            Batches.sell(ALICE, 1500, 0, UNDER_USE_PRICE_MIN),
            Batches.buy(BOB, 1500, UNDER_USE_PRICE_MIN, UNDER_USE_PRICE_MIN)
        );
        _shorten(orders, 500);
        (orders[0].value, orders[1].value) = (80_001, 80_001);
        refused(START, orders, _limitBroken(orders[1]));
        orders[1].limit = UNDER_USE_PRICE_MIN - 20_000;
        (orders[0].value, orders[1].value) = (60_001, 60_001);
        refused(START, orders, _limitBroken(orders[1]));
        (orders[0].value, orders[1].value) = (60_000, 60_000);
        settle(START, orders);
    }

    function testAMarketBuyersCompensationCountsFromTheBand() external {
        TestOrder[] memory orders = _short(0, 1000);
        orders[1].limit = type(int64).max;
        int64 worst = PRICE_MAX - UNDER_USE_PRICE_MIN;
        (orders[0].value, orders[1].value) = (worst + 1, worst + 1);
        refused(START, orders, _limitBroken(orders[1]));
        (orders[0].value, orders[1].value) = (worst, worst);
        settle(START, orders);
    }

    function testTermsWithoutCompensation() external {
        IEnergyLedger.Terms memory terms = termsOf(address(currency));
        (terms.shortfallPriceMax, terms.underUsePriceMin) = (PRICE_MIN, PRICE_MAX);
        ledger = newLedger(terms);
        fund(bob);
        TestOrder[] memory orders = _short(1000, 500);
        (orders[0].value, orders[1].value) = (199_999, 199_999);
        refused(START, orders, _limitBroken(orders[0]));
        (orders[0].value, orders[1].value) = (200_001, 200_001);
        refused(START, orders, _limitBroken(orders[1]));
        (orders[0].value, orders[1].value) = (200_000, 200_000);
        settle(START, orders);
    }

    /* METERS */

    function testSellerMustHaveProducedWhatItSold() external {
        TestOrder[] memory orders = trade(1500);
        orders[0].meteredWh = 1499;
        refused(START, orders, _meteredInvalid(orders[0], 1499, 1500));
    }

    /// @dev Not even from what they hold: it would sell, or burn, the same energy twice.
    function testEnergyThatIsHeldReplacesNoMeter() external {
        VM.startPrank(address(token));
        ledger.mintEnergy(alice, 5000);
        ledger.mintEnergy(bob, 5000);
        VM.stopPrank();
        TestOrder[] memory orders = trade(1500);
        orders[0].meteredWh = 1499;
        refused(START, orders, _meteredInvalid(orders[0], 1499, 1500));
        orders = trade(1500);
        orders[1].meteredWh = 1501;
        refused(START, orders, _meteredInvalid(orders[1], 1501, 1500));
    }

    function testBuyerBurnsNoMoreThanItBought() external {
        TestOrder[] memory orders = trade(1500);
        orders[1].meteredWh = 1501;
        refused(START, orders, _meteredInvalid(orders[1], 1501, 1500));
    }

    function testWhatWasShortIsNeitherProducedNorUsed() external {
        TestOrder[] memory orders = _short(1000, 500);
        orders[1].meteredWh = 1001;
        refused(START, orders, _meteredInvalid(orders[1], 1001, 1000));
        settle(START, _short(1000, 500));
        VM.assertEq(ledger.energyWhTotal(), 0, "produced and used 1000");
    }

    function testProductionIsCapped() external {
        TestOrder[] memory orders = trade(10);
        orders[0].meteredWh = METERED_MAX_WH + 1;
        refused(
            START,
            orders,
            abi.encodeWithSelector(
                IEnergyLedger.AccountMeteredTooMuch.selector,
                alice,
                METERED_MAX_WH + 1,
                METERED_MAX_WH
            )
        );
        orders[0].meteredWh = METERED_MAX_WH;
        settle(START, orders);
    }

    function testProductionIsCappedPerAccount() external {
        TestOrder[] memory orders = new TestOrder[](3);
        orders[0] = Batches.sell(ALICE, 10, PRICE, PRICE);
        orders[1] = Batches.sell(ALICE, 20, PRICE, PRICE);
        orders[2] = Batches.buy(BOB, 30, PRICE, PRICE);
        orders[0].meteredWh = METERED_MAX_WH - 20;
        orders[1].meteredWh = 21;
        refused(
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
        settle(START, _twoSellersAtTheCap());
        VM.assertEq(ledger.energyWhTotal(), 2 * METERED_MAX_WH - 30, "both minted the most");
    }

    /// @dev The plain way of settling counts it too: the accounts have used a later interval.
    function testTheCapIsEachAccountsOwnInALateBatch() external {
        settle(START, _twoSellersAtTheCap());
        settle(START - INTERVAL_S, _twoSellersAtTheCap());
        VM.assertEq(ledger.energyWhTotal(), 4 * METERED_MAX_WH - 60, "twice the most");
    }

    /* ACCOUNTS */

    function testRefusesABuyerWithoutMoney() external {
        uint256 poor = 0x9008;
        fund(VM.addr(poor), 199_999);
        TestOrder[] memory orders =
            pair(Batches.sell(ALICE, 1000, PRICE, PRICE), Batches.buy(poor, 1000, PRICE, PRICE));
        refused(
            START,
            orders,
            abi.encodeWithSelector(
                IEnergyLedger.AccountMoneyInsufficient.selector, VM.addr(poor), 199_999, 200_000
            )
        );
        fund(VM.addr(poor), 1);
        settle(START, orders);
        VM.assertEq(moneyOf(VM.addr(poor)), 0, "just enough");
    }

    function testRefusesASellerThatCannotCompensate() external {
        TestOrder[] memory orders =
            pair(Batches.sell(0x5E11, 1000, PRICE, PRICE), Batches.buy(BOB, 1000, PRICE, PRICE));
        _shorten(orders, 1000);
        (orders[0].value, orders[1].value) = (-1, -1);
        refused(
            START,
            orders,
            abi.encodeWithSelector(
                IEnergyLedger.AccountMoneyInsufficient.selector, VM.addr(0x5E11), 0, 1
            )
        );
    }

    function testRefusesAFullAccount() external {
        fund(alice, type(uint64).max - PURSE_MICRO - 199_999);
        refused(
            START,
            trade(1000),
            abi.encodeWithSelector(IEnergyLedger.AccountOverflow.selector, alice)
        );
        settle(START, trade(999));
    }

    function testAccountsMarkedNotToSendSellNothing() external {
        flag(alice, 1);
        refused(
            START,
            trade(1000),
            abi.encodeWithSelector(IEnergyLedger.AccountBlocked.selector, alice, 1)
        );
        settle(
            START, pair(Batches.buy(ALICE, 10, PRICE, PRICE), Batches.sell(CAROL, 10, PRICE, PRICE))
        );
    }

    function testAccountsMarkedNotToReceiveBuyNothing() external {
        flag(bob, 2);
        refused(
            START,
            trade(1000),
            abi.encodeWithSelector(IEnergyLedger.AccountBlocked.selector, bob, 2)
        );
        settle(
            START, pair(Batches.sell(BOB, 10, PRICE, PRICE), Batches.buy(CAROL, 10, PRICE, PRICE))
        );
    }

    /* HELP */

    function _twoSellersAtTheCap() private pure returns (TestOrder[] memory orders) {
        orders = new TestOrder[](3);
        orders[0] = Batches.sell(ALICE, 10, PRICE, PRICE);
        orders[1] = Batches.sell(CAROL, 20, PRICE, PRICE);
        orders[2] = Batches.buy(BOB, 30, PRICE, PRICE);
        orders[0].meteredWh = METERED_MAX_WH;
        orders[1].meteredWh = METERED_MAX_WH;
    }

    /// @dev A trade at `PRICE` of which `shortWh` did not happen; nobody compensates.
    function _short(uint48 executedWh, uint48 shortWh)
        private
        pure
        returns (TestOrder[] memory orders)
    {
        orders = trade(executedWh + shortWh);
        _shorten(orders, shortWh);
        orders[0].value = orders[1].value = Batches.valueOf(executedWh, PRICE);
    }

    function _shorten(TestOrder[] memory orders, uint48 shortWh) private pure {
        for (uint256 i; i < orders.length; ++i) {
            orders[i].executedWh -= shortWh;
            orders[i].shortWh = shortWh;
            orders[i].meteredWh = orders[i].executedWh;
        }
    }

    function _executedInvalid(TestOrder memory order, uint256 tradedWh)
        private
        view
        returns (bytes memory)
    {
        return abi.encodeWithSelector(
            IEnergyLedger.RowExecutedInvalid.selector, digest(order), tradedWh, order.signedWh
        );
    }

    function _tradesInvalid(TestOrder memory order, uint256 trades, uint256 tradedWh)
        private
        view
        returns (bytes memory)
    {
        return abi.encodeWithSelector(
            IEnergyLedger.RowTradesInvalid.selector, digest(order), trades, tradedWh
        );
    }

    function _limitBroken(TestOrder memory order) private view returns (bytes memory) {
        return abi.encodeWithSelector(
            IEnergyLedger.RowLimitBroken.selector, digest(order), int256(order.value)
        );
    }

    function _meteredInvalid(TestOrder memory order, uint256 meteredWh, uint256 executedWh)
        private
        view
        returns (bytes memory)
    {
        return abi.encodeWithSelector(
            IEnergyLedger.RowMeteredInvalid.selector, digest(order), meteredWh, executedWh
        );
    }
}
