// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {P2PTrading} from "../../src/P2PTrading.sol";
import {IP2PTrading} from "../../src/interfaces/IP2PTrading.sol";
import {Unpayable} from "../base/Recipients.sol";
import {TradingCommunity} from "../base/TradingCommunity.sol";
import {VM} from "../base/Vm.sol";

/// @title P2PTradingTest: an offer's and a trade's life, in both kinds of market
contract P2PTradingTest is TradingCommunity {
    /* OFFER */

    function testOfferEscrowsTheEnergy() external {
        VM.expectEmit(address(trading));
        emit IP2PTrading.SellOrderCreated(
            1, alice, AMOUNT, PRICE_PER_KWH, block.timestamp + VALIDITY_S
        );
        VM.assertEq(offer(trading), 1, "the first id");
        VM.assertEq(token.balanceOf(alice), 0, "given");
        VM.assertEq(token.balanceOf(address(trading)), AMOUNT, "held");
        IP2PTrading.EnergyTrade memory deal = trading.tradeOf(1);
        VM.assertEq(deal.seller, alice, "seller");
        VM.assertEq(deal.buyer, address(0), "no buyer yet");
        VM.assertEq(deal.amount, AMOUNT, "amount");
        VM.assertEq(deal.price, PRICE_PER_KWH, "price");
        VM.assertEq(trading.paymentOf(1), PAYMENT, "payment");
        isIn(trading, 1, IP2PTrading.Stage.Offered);
    }

    function testOfferRefusals() external {
        VM.startPrank(alice);
        VM.expectRevert(abi.encodeWithSelector(IP2PTrading.AmountInvalid.selector, 0));
        trading.createSellOrder(0, 1, 1);
        VM.expectRevert(abi.encodeWithSelector(IP2PTrading.AmountInvalid.selector, 1));
        trading.createSellOrder(1, 1, 1);
        VM.expectRevert(abi.encodeWithSelector(IP2PTrading.ValidityInvalid.selector, 0));
        trading.createSellOrder(AMOUNT, 1, 0);
        VM.expectRevert(abi.encodeWithSelector(IP2PTrading.ValidityInvalid.selector, 366 days + 1));
        trading.createSellOrder(AMOUNT, 1, 366 days + 1);
        VM.stopPrank();
        pause();
        VM.prank(alice);
        VM.expectRevert(IP2PTrading.TradingPaused.selector);
        trading.createSellOrder(AMOUNT, 1, 1);
    }

    function testSellerClosesItsOffer() external {
        offer(trading);
        VM.prank(bob);
        VM.expectRevert(
            abi.encodeWithSelector(
                IP2PTrading.OrderStillValid.selector, 1, block.timestamp + VALIDITY_S
            )
        );
        trading.closeSellOrder(1);
        VM.expectEmit(address(trading));
        emit IP2PTrading.SellOrderClosed(1);
        VM.prank(alice);
        trading.closeSellOrder(1);
        VM.assertEq(token.balanceOf(alice), AMOUNT, "back");
        isIn(trading, 1, IP2PTrading.Stage.Closed);
    }

    /// @dev One second before, at and one after the expiry: either it is taken or anyone closes it.
    function testExpiryToTheSecond() external {
        offer(trading);
        uint256 validUntil = block.timestamp + VALIDITY_S;
        uint256 start = VM.snapshotState();
        VM.warp(validUntil - 1);
        VM.prank(carol);
        VM.expectRevert(abi.encodeWithSelector(IP2PTrading.OrderStillValid.selector, 1, validUntil));
        trading.closeSellOrder(1);
        take(trading, 0);
        for (uint256 late; late < 2; ++late) {
            VM.revertToState(start);
            VM.warp(validUntil + late);
            bytes memory why =
                abi.encodeWithSelector(IP2PTrading.OrderExpired.selector, 1, validUntil);
            VM.startPrank(bob);
            VM.expectRevert(why);
            trading.matchOrder(1);
            VM.expectRevert(why);
            trading.matchPart(1, 1e15);
            VM.stopPrank();
            VM.prank(carol);
            trading.closeSellOrder(1);
            VM.assertEq(token.balanceOf(alice), AMOUNT, "back");
        }
    }

    function testAnOfferStandsAtMostAYear() external {
        VM.prank(alice);
        trading.createSellOrder(AMOUNT, 1, 366 days);
        (, uint256 validUntil) = trading.stageOf(1);
        VM.assertEq(validUntil, block.timestamp + 366 days, "the longest");
    }

    function testFieldsThatDoNotFitAreRefused() external {
        VM.startPrank(alice);
        uint256 amount = 2 ** 48 * 1e15;
        VM.expectRevert(
            abi.encodeWithSignature(
                "SafeCastOverflowedUintDowncast(uint8,uint256)", 48, uint256(2 ** 48)
            )
        );
        trading.createSellOrder(amount, 1, 1);
        VM.expectRevert(
            abi.encodeWithSignature(
                "SafeCastOverflowedUintDowncast(uint8,uint256)", 128, uint256(2 ** 128)
            )
        );
        trading.createSellOrder(AMOUNT, 2 ** 128, 1);
        trading.createSellOrder(AMOUNT, type(uint128).max, 1);
        VM.assertEq(
            trading.paymentOf(1),
            2 * uint256(type(uint128).max),
            "the highest price overflows nothing"
        );
    }

    function testConfigurationIsChecked() external {
        bytes memory why =
            abi.encodeWithSelector(IP2PTrading.ConfigurationInvalid.selector, "settlementPeriodS");
        VM.expectRevert(why);
        new P2PTrading(ledger, token, registry, address(currency), 0);
        VM.expectRevert(why);
        new P2PTrading(ledger, token, registry, address(currency), 90 days + 1);
        P2PTrading made = new P2PTrading(ledger, token, registry, address(currency), 90 days);
        VM.assertEq(made.settlementPeriodS(), 90 days, "the longest");
    }

    /* MATCH */

    function testMatchEscrowsThePayment() external {
        offer(trading);
        VM.expectEmit(address(trading));
        emit IP2PTrading.OrderMatched(1, bob, PAYMENT);
        VM.prank(bob);
        VM.assertTrue(trading.matchOrder(1), "matched");
        VM.assertEq(currency.balanceOf(address(trading)), PAYMENT, "held");
        VM.assertEq(trading.tradeOf(1).buyer, bob, "buyer");
        isIn(trading, 1, IP2PTrading.Stage.Matched);
    }

    function testMatchRefusals() external {
        offer(trading);
        VM.prank(alice);
        VM.expectRevert(abi.encodeWithSelector(IP2PTrading.OwnOrder.selector, 1));
        trading.matchOrder(1);
        VM.prank(bob);
        VM.expectRevert(abi.encodeWithSelector(IP2PTrading.PaymentInvalid.selector, 1, 0));
        trading.matchOrder{value: 1}(1);
        VM.prank(bob);
        VM.expectRevert(
            abi.encodeWithSelector(IP2PTrading.StageInvalid.selector, 2, IP2PTrading.Stage.None)
        );
        trading.matchOrder(2);
        uint256 validUntil = block.timestamp + VALIDITY_S;
        VM.warp(validUntil);
        VM.prank(bob);
        VM.expectRevert(abi.encodeWithSelector(IP2PTrading.OrderExpired.selector, 1, validUntil));
        trading.matchOrder(1);
        VM.warp(validUntil - 1);
        take(trading, 0);
        VM.expectRevert(
            abi.encodeWithSelector(IP2PTrading.StageInvalid.selector, 1, IP2PTrading.Stage.Matched)
        );
        trading.matchOrder(1);
    }

    function testPauseStopsMatchesNotTheWayOut() external {
        offer(trading);
        pause();
        VM.prank(bob);
        VM.expectRevert(IP2PTrading.TradingPaused.selector);
        trading.matchOrder(1);
        VM.prank(alice);
        trading.closeSellOrder(1);
    }

    function testNativeMarketNeedsTheExactValue() external {
        offer(nativeTrading);
        VM.prank(bob);
        VM.expectRevert(
            abi.encodeWithSelector(IP2PTrading.PaymentInvalid.selector, PAYMENT - 1, PAYMENT)
        );
        nativeTrading.matchOrder{value: PAYMENT - 1}(1);
        VM.prank(bob);
        VM.expectRevert(
            abi.encodeWithSelector(IP2PTrading.PaymentInvalid.selector, PAYMENT + 1, PAYMENT)
        );
        nativeTrading.matchOrder{value: PAYMENT + 1}(1);
        take(nativeTrading, PAYMENT);
        VM.assertEq(address(nativeTrading).balance, PAYMENT, "held");
    }

    function testAGiftNeedsNoPayment() external {
        VM.startPrank(alice);
        trading.createSellOrder(AMOUNT / 2, 0, VALIDITY_S);
        nativeTrading.createSellOrder(AMOUNT / 2, 0, VALIDITY_S);
        VM.stopPrank();
        VM.startPrank(carol);
        trading.matchOrder(1);
        nativeTrading.matchOrder(1);
        trading.settleTrade(1);
        nativeTrading.settleTrade(1);
        VM.stopPrank();
        VM.startPrank(alice);
        trading.settleTrade(1);
        nativeTrading.settleTrade(1);
        VM.assertEq(token.balanceOf(carol), AMOUNT, "given");
    }

    /* SETTLE */

    function testSettlesWhenTheMeterShowsTheDelivery() external {
        read(METER, block.timestamp, 1, 5000);
        offer(trading);
        VM.expectEmit(address(trading));
        emit IP2PTrading.DeliveryStarted(1, 5000);
        take(trading, 0);
        VM.expectRevert(abi.encodeWithSelector(IP2PTrading.DeliveryNotShown.selector, 1));
        trading.settleTrade(1);
        later(2, 6999);
        VM.expectRevert(abi.encodeWithSelector(IP2PTrading.DeliveryNotShown.selector, 1));
        trading.settleTrade(1);
        later(3, 7000);
        VM.expectEmit(address(trading));
        emit IP2PTrading.TradeSettled(1, alice, bob, PAYMENT);
        trading.settleTrade(1);
        VM.assertEq(token.balanceOf(bob), AMOUNT, "energy");
        VM.assertEq(currency.balanceOf(alice), PAYMENT, "payment");
        VM.assertTrue(trading.tradeOf(1).completed, "completed");
        VM.expectRevert(
            abi.encodeWithSelector(
                IP2PTrading.StageInvalid.selector, 1, IP2PTrading.Stage.Completed
            )
        );
        trading.settleTrade(1);
    }

    function testAStaleReadingIsNoStart() external {
        read(METER, block.timestamp - INTERVAL_S - 1, 1, 0);
        offer(trading);
        take(trading, 0);
        later(2, 2400); // produced before the match, for all we know
        VM.expectEmit(address(trading));
        emit IP2PTrading.DeliveryStarted(1, 2400);
        trading.settleTrade(1);
        VM.assertFalse(trading.tradeOf(1).completed, "only started");
        later(3, 4399);
        VM.expectRevert(abi.encodeWithSelector(IP2PTrading.DeliveryNotShown.selector, 1));
        trading.settleTrade(1);
        later(4, 4400);
        trading.settleTrade(1);
        VM.assertTrue(trading.tradeOf(1).completed, "2 kWh since the start");
    }

    function testOneDeliveryCountsForOneTrade() external {
        read(METER, block.timestamp, 1, 0);
        offer(trading, 1e18);
        offer(trading, 1e18);
        VM.startPrank(bob);
        trading.matchOrder(1);
        trading.matchOrder(2);
        VM.stopPrank();
        later(2, 1500);
        trading.settleTrade(1);
        VM.expectRevert(abi.encodeWithSelector(IP2PTrading.DeliveryNotShown.selector, 2));
        trading.settleTrade(2);
        later(3, 2000);
        trading.settleTrade(2);
        VM.assertTrue(trading.tradeOf(2).completed, "the second kWh");
    }

    function testSettlesWhenBothAgree() external {
        offer(trading);
        take(trading, 0);
        VM.expectEmit(address(trading));
        emit IP2PTrading.SettlementAgreed(1, bob);
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
        take(trading, 0);
        VM.expectRevert(abi.encodeWithSelector(IP2PTrading.DeliveryNotShown.selector, 1));
        trading.settleTrade(1);
        VM.prank(carol);
        trading.settleTrade(1);
        VM.prank(bob);
        trading.settleTrade(1);
        VM.assertEq(currency.balanceOf(carol), PAYMENT, "paid");
    }

    function testNativePayment() external {
        offer(nativeTrading);
        take(nativeTrading, PAYMENT);
        uint256 before = alice.balance;
        VM.prank(alice);
        nativeTrading.settleTrade(1);
        VM.prank(bob);
        nativeTrading.settleTrade(1);
        VM.assertEq(alice.balance - before, PAYMENT, "paid");
    }

    /* REFUND */

    function testUnsettledTradesGoBack() external {
        offer(trading);
        take(trading, 0);
        uint256 refundFrom = block.timestamp + SETTLEMENT_PERIOD_S;
        VM.warp(refundFrom - 1);
        VM.expectRevert(abi.encodeWithSelector(IP2PTrading.RefundTooEarly.selector, 1, refundFrom));
        trading.refundTrade(1);
        uint256 early = VM.snapshotState();
        VM.warp(refundFrom + 1);
        trading.refundTrade(1);
        VM.revertToState(early);
        VM.warp(refundFrom);
        VM.expectEmit(address(trading));
        emit IP2PTrading.TradeRefunded(1);
        trading.refundTrade(1);
        VM.assertEq(token.balanceOf(alice), AMOUNT, "energy back");
        VM.assertEq(currency.balanceOf(bob), PURSE_MICRO, "payment back");
        VM.expectRevert(
            abi.encodeWithSelector(IP2PTrading.StageInvalid.selector, 1, IP2PTrading.Stage.Closed)
        );
        trading.refundTrade(1);
    }

    function testAnUnpayableBuyerBlocksNobody() external {
        Unpayable buyer = new Unpayable();
        VM.deal(address(buyer), PAYMENT);
        offer(nativeTrading);
        buyer.call(address(nativeTrading), PAYMENT, abi.encodeCall(IP2PTrading.matchOrder, (1)));
        VM.warp(block.timestamp + SETTLEMENT_PERIOD_S);
        VM.expectEmit(address(nativeTrading));
        emit IP2PTrading.ProceedsKept(address(buyer), PAYMENT);
        nativeTrading.refundTrade(1);
        VM.assertEq(token.balanceOf(alice), AMOUNT, "the seller has its energy");
        VM.assertEq(nativeTrading.proceeds(address(buyer)), PAYMENT, "kept");
        buyer.call(address(nativeTrading), 0, abi.encodeCall(IP2PTrading.fetchProceeds, (carol)));
        VM.assertEq(carol.balance, PAYMENT, "fetched");
        VM.prank(bob);
        VM.expectRevert(abi.encodeWithSelector(IP2PTrading.NothingKept.selector, bob));
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
        take(nativeTrading, PAYMENT);
        VM.prank(bob);
        nativeTrading.settleTrade(1);
        seller.call(address(nativeTrading), 0, abi.encodeCall(IP2PTrading.settleTrade, (1)));
        VM.startPrank(address(seller));
        VM.expectRevert(
            abi.encodeWithSelector(IP2PTrading.PaymentRefused.selector, address(seller), PAYMENT)
        );
        nativeTrading.fetchProceeds(address(seller));
        nativeTrading.fetchProceeds(carol);
        VM.assertEq(carol.balance, PAYMENT, "nothing lost");
        VM.expectRevert(abi.encodeWithSelector(IP2PTrading.NothingKept.selector, address(seller)));
        nativeTrading.fetchProceeds(carol); // and nothing twice
    }
}
