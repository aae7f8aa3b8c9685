// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {P2PTrading} from "../../src/P2PTrading.sol";
import {IP2PTrading} from "../../src/interfaces/IP2PTrading.sol";
import {Sources} from "../../src/libraries/Sources.sol";
import {Community} from "../base/Community.sol";
import {Unpayable} from "../base/Recipients.sol";
import {VM} from "../base/Vm.sol";

/// @title P2PTradingTest: an offer's and a trade's life, in both kinds of market
contract P2PTradingTest is Community {
    uint256 private constant AMOUNT = 2e18; // 2 kWh
    uint256 private constant PRICE_PER_KWH = 250_000;
    uint256 private constant PAYMENT = 500_000;
    uint256 private constant VALIDITY_S = 1 hours;

    function setUp() public override {
        super.setUp();
        register(METER, ALICE);
        VM.prank(oracle);
        token.mintEnergyTokens(alice, AMOUNT, Sources.SOLAR);
        currency.mint(bob, PURSE_MICRO);
        VM.deal(bob, 1 ether);
        VM.startPrank(alice);
        token.approve(address(trading), type(uint256).max);
        token.approve(address(nativeTrading), type(uint256).max);
        VM.stopPrank();
        VM.prank(bob);
        currency.approve(address(trading), type(uint256).max);
    }

    /* OFFER */

    function testOfferEscrowsTheEnergy() external {
        VM.expectEmit(address(trading));
        emit P2PTrading.SellOrderCreated(
            1, alice, AMOUNT, PRICE_PER_KWH, block.timestamp + VALIDITY_S
        );
        VM.assertEq(_offer(trading), 1, "the first id");
        VM.assertEq(token.balanceOf(alice), 0, "given");
        VM.assertEq(token.balanceOf(address(trading)), AMOUNT, "held");
        IP2PTrading.EnergyTrade memory deal = trading.tradeOf(1);
        VM.assertEq(deal.seller, alice, "seller");
        VM.assertEq(deal.buyer, address(0), "no buyer yet");
        VM.assertEq(deal.amount, AMOUNT, "amount");
        VM.assertEq(deal.price, PRICE_PER_KWH, "price");
        VM.assertEq(trading.paymentOf(1), PAYMENT, "payment");
        _isIn(trading, P2PTrading.Stage.Offered);
    }

    function testOfferRefusals() external {
        VM.startPrank(alice);
        VM.expectRevert(abi.encodeWithSelector(P2PTrading.AmountInvalid.selector, 0));
        trading.createSellOrder(0, 1, 1);
        VM.expectRevert(abi.encodeWithSelector(P2PTrading.AmountInvalid.selector, 1));
        trading.createSellOrder(1, 1, 1);
        VM.expectRevert(abi.encodeWithSelector(P2PTrading.ValidityInvalid.selector, 0));
        trading.createSellOrder(AMOUNT, 1, 0);
        VM.expectRevert(abi.encodeWithSelector(P2PTrading.ValidityInvalid.selector, 366 days + 1));
        trading.createSellOrder(AMOUNT, 1, 366 days + 1);
        VM.stopPrank();
        _pause();
        VM.prank(alice);
        VM.expectRevert(P2PTrading.TradingPaused.selector);
        trading.createSellOrder(AMOUNT, 1, 1);
    }

    function testSellerClosesItsOffer() external {
        _offer(trading);
        VM.prank(bob);
        VM.expectRevert(
            abi.encodeWithSelector(
                P2PTrading.OrderStillValid.selector, 1, block.timestamp + VALIDITY_S
            )
        );
        trading.closeSellOrder(1);
        VM.expectEmit(address(trading));
        emit P2PTrading.SellOrderClosed(1);
        VM.prank(alice);
        trading.closeSellOrder(1);
        VM.assertEq(token.balanceOf(alice), AMOUNT, "back");
        _isIn(trading, P2PTrading.Stage.Closed);
    }

    function testAnyoneClosesAnExpiredOffer() external {
        _offer(trading);
        VM.warp(block.timestamp + VALIDITY_S);
        VM.prank(bob);
        trading.closeSellOrder(1);
        VM.assertEq(token.balanceOf(alice), AMOUNT, "back");
    }

    /* MATCH */

    function testMatchEscrowsThePayment() external {
        _offer(trading);
        VM.expectEmit(address(trading));
        emit P2PTrading.OrderMatched(1, bob, PAYMENT);
        VM.prank(bob);
        VM.assertTrue(trading.matchOrder(1), "matched");
        VM.assertEq(currency.balanceOf(address(trading)), PAYMENT, "held");
        VM.assertEq(trading.tradeOf(1).buyer, bob, "buyer");
        _isIn(trading, P2PTrading.Stage.Matched);
    }

    function testMatchRefusals() external {
        _offer(trading);
        VM.prank(alice);
        VM.expectRevert(abi.encodeWithSelector(P2PTrading.OwnOrder.selector, 1));
        trading.matchOrder(1);
        VM.prank(bob);
        VM.expectRevert(abi.encodeWithSelector(P2PTrading.PaymentInvalid.selector, 1, 0));
        trading.matchOrder{value: 1}(1);
        VM.prank(bob);
        VM.expectRevert(
            abi.encodeWithSelector(P2PTrading.StageInvalid.selector, 2, P2PTrading.Stage.None)
        );
        trading.matchOrder(2);
        uint256 validUntil = block.timestamp + VALIDITY_S;
        VM.warp(validUntil);
        VM.prank(bob);
        VM.expectRevert(abi.encodeWithSelector(P2PTrading.OrderExpired.selector, 1, validUntil));
        trading.matchOrder(1);
        VM.warp(validUntil - 1);
        _match(trading, 0);
        VM.expectRevert(
            abi.encodeWithSelector(P2PTrading.StageInvalid.selector, 1, P2PTrading.Stage.Matched)
        );
        trading.matchOrder(1);
    }

    function testPauseStopsMatchesNotTheWayOut() external {
        _offer(trading);
        _pause();
        VM.prank(bob);
        VM.expectRevert(P2PTrading.TradingPaused.selector);
        trading.matchOrder(1);
        VM.prank(alice);
        trading.closeSellOrder(1);
    }

    function testNativeMarketNeedsTheExactValue() external {
        _offer(nativeTrading);
        VM.prank(bob);
        VM.expectRevert(
            abi.encodeWithSelector(P2PTrading.PaymentInvalid.selector, PAYMENT - 1, PAYMENT)
        );
        nativeTrading.matchOrder{value: PAYMENT - 1}(1);
        VM.prank(bob);
        VM.expectRevert(
            abi.encodeWithSelector(P2PTrading.PaymentInvalid.selector, PAYMENT + 1, PAYMENT)
        );
        nativeTrading.matchOrder{value: PAYMENT + 1}(1);
        _match(nativeTrading, PAYMENT);
        VM.assertEq(address(nativeTrading).balance, PAYMENT, "held");
    }

    /* SETTLE */

    function testSettlesWhenTheMeterShowsTheDelivery() external {
        read(METER, block.timestamp, 1, 5000);
        _offer(trading);
        VM.expectEmit(address(trading));
        emit P2PTrading.DeliveryStarted(1, 5000);
        _match(trading, 0);
        VM.expectRevert(abi.encodeWithSelector(P2PTrading.DeliveryNotShown.selector, 1));
        trading.settleTrade(1);
        _later(1, 6999);
        VM.expectRevert(abi.encodeWithSelector(P2PTrading.DeliveryNotShown.selector, 1));
        trading.settleTrade(1);
        _later(2, 7000);
        VM.expectEmit(address(trading));
        emit P2PTrading.TradeSettled(1, alice, bob, PAYMENT);
        trading.settleTrade(1);
        VM.assertEq(token.balanceOf(bob), AMOUNT, "energy");
        VM.assertEq(currency.balanceOf(alice), PAYMENT, "payment");
        VM.assertTrue(trading.tradeOf(1).completed, "completed");
        VM.expectRevert(
            abi.encodeWithSelector(P2PTrading.StageInvalid.selector, 1, P2PTrading.Stage.Completed)
        );
        trading.settleTrade(1);
    }

    function testAStaleReadingIsNoStart() external {
        read(METER, block.timestamp - INTERVAL_S - 1, 1, 0);
        _offer(trading);
        _match(trading, 0);
        _later(1, 2400); // produced before the match, for all we know
        VM.expectEmit(address(trading));
        emit P2PTrading.DeliveryStarted(1, 2400);
        trading.settleTrade(1);
        VM.assertFalse(trading.tradeOf(1).completed, "only started");
        _later(2, 4399);
        VM.expectRevert(abi.encodeWithSelector(P2PTrading.DeliveryNotShown.selector, 1));
        trading.settleTrade(1);
        _later(3, 4400);
        trading.settleTrade(1);
        VM.assertTrue(trading.tradeOf(1).completed, "2 kWh since the start");
    }

    function testOneDeliveryCountsForOneTrade() external {
        read(METER, block.timestamp, 1, 0);
        _offer(trading, 1e18);
        _offer(trading, 1e18);
        VM.startPrank(bob);
        trading.matchOrder(1);
        trading.matchOrder(2);
        VM.stopPrank();
        _later(1, 1500);
        trading.settleTrade(1);
        VM.expectRevert(abi.encodeWithSelector(P2PTrading.DeliveryNotShown.selector, 2));
        trading.settleTrade(2);
        _later(2, 2000);
        trading.settleTrade(2);
        VM.assertTrue(trading.tradeOf(2).completed, "the second kWh");
    }

    function testSettlesWhenBothAgree() external {
        _offer(trading);
        _match(trading, 0);
        VM.expectEmit(address(trading));
        emit P2PTrading.SettlementAgreed(1, bob);
        VM.prank(bob);
        trading.settleTrade(1);
        VM.prank(bob);
        trading.settleTrade(1); // twice is still one party
        VM.assertFalse(trading.tradeOf(1).completed, "one party is not enough");
        VM.prank(alice);
        trading.settleTrade(1);
        VM.assertTrue(trading.tradeOf(1).completed, "both");
        VM.assertEq(currency.balanceOf(alice), PAYMENT, "paid");
    }

    function testSellersWithoutAMeterSettleByAgreement() external {
        VM.startPrank(alice);
        token.transfer(carol, AMOUNT);
        VM.stopPrank();
        VM.startPrank(carol);
        token.approve(address(trading), AMOUNT);
        trading.createSellOrder(AMOUNT, PRICE_PER_KWH, VALIDITY_S);
        VM.stopPrank();
        _match(trading, 0);
        VM.expectRevert(abi.encodeWithSelector(P2PTrading.DeliveryNotShown.selector, 1));
        trading.settleTrade(1);
        VM.prank(carol);
        trading.settleTrade(1);
        VM.prank(bob);
        trading.settleTrade(1);
        VM.assertEq(currency.balanceOf(carol), PAYMENT, "paid");
    }

    function testNativePayment() external {
        _offer(nativeTrading);
        _match(nativeTrading, PAYMENT);
        uint256 before = alice.balance;
        VM.prank(alice);
        nativeTrading.settleTrade(1);
        VM.prank(bob);
        nativeTrading.settleTrade(1);
        VM.assertEq(alice.balance - before, PAYMENT, "paid");
    }

    /* REFUND */

    function testUnsettledTradesGoBack() external {
        _offer(trading);
        _match(trading, 0);
        uint256 refundFrom = block.timestamp + SETTLEMENT_PERIOD_S;
        VM.warp(refundFrom - 1);
        VM.expectRevert(abi.encodeWithSelector(P2PTrading.RefundTooEarly.selector, 1, refundFrom));
        trading.refundTrade(1);
        VM.warp(refundFrom);
        VM.expectEmit(address(trading));
        emit P2PTrading.TradeRefunded(1);
        trading.refundTrade(1);
        VM.assertEq(token.balanceOf(alice), AMOUNT, "energy back");
        VM.assertEq(currency.balanceOf(bob), PURSE_MICRO, "payment back");
        VM.expectRevert(
            abi.encodeWithSelector(P2PTrading.StageInvalid.selector, 1, P2PTrading.Stage.Closed)
        );
        trading.refundTrade(1);
    }

    function testAnUnpayableBuyerBlocksNobody() external {
        Unpayable buyer = new Unpayable();
        VM.deal(address(buyer), PAYMENT);
        _offer(nativeTrading);
        buyer.call(address(nativeTrading), PAYMENT, abi.encodeCall(IP2PTrading.matchOrder, (1)));
        VM.warp(block.timestamp + SETTLEMENT_PERIOD_S);
        VM.expectEmit(address(nativeTrading));
        emit P2PTrading.ProceedsKept(address(buyer), PAYMENT);
        nativeTrading.refundTrade(1);
        VM.assertEq(token.balanceOf(alice), AMOUNT, "the seller has its energy");
        VM.assertEq(nativeTrading.proceeds(address(buyer)), PAYMENT, "kept");
        buyer.call(address(nativeTrading), 0, abi.encodeCall(P2PTrading.fetchProceeds, (carol)));
        VM.assertEq(carol.balance, PAYMENT, "fetched");
        VM.prank(bob);
        VM.expectRevert(abi.encodeWithSelector(P2PTrading.ProceedsNone.selector, bob));
        nativeTrading.fetchProceeds(bob);
    }

    function testFetchingToAnUnpayableAccountLosesNothing() external {
        Unpayable seller = new Unpayable();
        VM.prank(alice);
        token.transfer(address(seller), AMOUNT);
        seller.call(
            address(token), 0, abi.encodeCall(token.approve, (address(nativeTrading), AMOUNT))
        );
        seller.call(
            address(nativeTrading),
            0,
            abi.encodeCall(IP2PTrading.createSellOrder, (AMOUNT, PRICE_PER_KWH, VALIDITY_S))
        );
        _match(nativeTrading, PAYMENT);
        VM.prank(bob);
        nativeTrading.settleTrade(1);
        seller.call(address(nativeTrading), 0, abi.encodeCall(IP2PTrading.settleTrade, (1)));
        VM.startPrank(address(seller));
        VM.expectRevert(
            abi.encodeWithSelector(P2PTrading.PaymentRefused.selector, address(seller), PAYMENT)
        );
        nativeTrading.fetchProceeds(address(seller));
        nativeTrading.fetchProceeds(carol);
        VM.assertEq(carol.balance, PAYMENT, "nothing lost");
        VM.expectRevert(abi.encodeWithSelector(P2PTrading.ProceedsNone.selector, address(seller)));
        nativeTrading.fetchProceeds(carol); // and nothing twice
    }

    /* HELP */

    function _offer(P2PTrading market) private returns (uint256) {
        return _offer(market, AMOUNT);
    }

    function _offer(P2PTrading market, uint256 amount) private returns (uint256) {
        VM.prank(alice);
        return market.createSellOrder(amount, PRICE_PER_KWH, VALIDITY_S);
    }

    function _match(P2PTrading market, uint256 value) private {
        VM.prank(bob);
        market.matchOrder{value: value}(1);
    }

    /// @dev An interval passes, and Alice's meter shows this register.
    function _later(uint256 sequence, uint256 productionWh) private {
        VM.warp(block.timestamp + 1 hours);
        read(METER, block.timestamp, sequence + 1, productionWh);
    }

    function _pause() private {
        VM.prank(guardian);
        ledger.setPaused(true);
    }

    function _isIn(P2PTrading market, P2PTrading.Stage expected) private view {
        (P2PTrading.Stage stage,) = market.stageOf(1);
        VM.assertEq(uint256(stage), uint256(expected), "stage");
    }
}
