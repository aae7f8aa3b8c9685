// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {IP2PTrading} from "../../src/interfaces/IP2PTrading.sol";
import {TradingCommunity} from "../base/TradingCommunity.sol";
import {VM} from "../base/Vm.sol";

/// @title P2PTradingPartsTest: an offer that several buyers take
contract P2PTradingPartsTest is TradingCommunity {
    function testAPartBecomesATradeOfItsOwn() external {
        offer(trading);
        uint256 offeredAt = block.timestamp;
        VM.warp(offeredAt + 60);
        VM.expectEmit(address(trading));
        emit IP2PTrading.OrderSplit(1, 2, AMOUNT / 4, AMOUNT * 3 / 4);
        VM.expectEmit(address(trading));
        emit IP2PTrading.OrderMatched(2, bob, PAYMENT / 4);
        VM.assertEq(takePart(trading, AMOUNT / 4), 2, "a new id");
        VM.assertEq(trading.dealCount(), 2, "counted");
        IP2PTrading.EnergyTrade memory part = trading.tradeOf(2);
        VM.assertEq(part.seller, alice, "seller");
        VM.assertEq(part.buyer, bob, "buyer");
        VM.assertEq(part.amount, AMOUNT / 4, "amount");
        VM.assertEq(part.price, PRICE_PER_KWH, "price");
        VM.assertEq(part.timestamp, offeredAt + 60, "matched now");
        (IP2PTrading.Stage stage, uint256 validUntil) = trading.stageOf(2);
        VM.assertEq(uint256(stage), uint256(IP2PTrading.Stage.Matched), "matched");
        VM.assertEq(validUntil, offeredAt + VALIDITY_S, "as the offer");
    }

    function testWhatIsLeftOfAnOfferStands() external {
        offer(trading);
        takePart(trading, AMOUNT / 4);
        isIn(trading, 1, IP2PTrading.Stage.Offered);
        IP2PTrading.EnergyTrade memory rest = trading.tradeOf(1);
        VM.assertEq(rest.amount, AMOUNT * 3 / 4, "left");
        VM.assertEq(rest.buyer, address(0), "nobody's yet");
        VM.assertEq(trading.paymentOf(1), PAYMENT * 3 / 4, "its payment");
        VM.assertEq(token.balanceOf(address(trading)), AMOUNT, "all is held");
        VM.assertEq(currency.balanceOf(address(trading)), PAYMENT / 4, "one payment is held");
        take(trading, 0);
        VM.assertEq(trading.dealCount(), 2, "the rest keeps the order's id");
        VM.assertEq(currency.balanceOf(address(trading)), PAYMENT, "both payments are held");
    }

    function testThePartThatIsTheWholeRestKeepsTheId() external {
        offer(trading);
        VM.assertEq(takePart(trading, AMOUNT / 2), 2, "a part");
        VM.assertEq(takePart(trading, AMOUNT / 2), 1, "the rest");
        isIn(trading, 1, IP2PTrading.Stage.Matched);
        VM.prank(bob);
        VM.expectRevert(
            abi.encodeWithSelector(IP2PTrading.StageInvalid.selector, 1, IP2PTrading.Stage.Matched)
        );
        trading.matchPart(1, 1e15);
    }

    function testPartRefusals() external {
        offer(trading);
        takePart(trading, AMOUNT / 2);
        VM.startPrank(bob);
        VM.expectRevert(abi.encodeWithSelector(IP2PTrading.AmountInvalid.selector, 0));
        trading.matchPart(1, 0);
        VM.expectRevert(abi.encodeWithSelector(IP2PTrading.AmountInvalid.selector, 1e15 + 1));
        trading.matchPart(1, 1e15 + 1);
        VM.expectRevert(
            abi.encodeWithSelector(
                IP2PTrading.AmountAboveOffer.selector, 1, AMOUNT / 2 + 1e15, AMOUNT / 2
            )
        );
        trading.matchPart(1, AMOUNT / 2 + 1e15);
        VM.expectRevert(
            abi.encodeWithSelector(IP2PTrading.StageInvalid.selector, 2, IP2PTrading.Stage.Matched)
        );
        trading.matchPart(2, 1e15); // a part that is taken offers nothing
        VM.stopPrank();
        VM.prank(alice);
        VM.expectRevert(abi.encodeWithSelector(IP2PTrading.OwnOrder.selector, 1));
        trading.matchPart(1, 1e15);
        pause();
        VM.prank(bob);
        VM.expectRevert(IP2PTrading.TradingPaused.selector);
        trading.matchPart(1, 1e15);
        VM.assertEq(trading.dealCount(), 2, "a refused part leaves nothing behind");
    }

    function testPartsSettleApart() external {
        offer(trading);
        takePart(trading, AMOUNT / 4);
        VM.prank(carol);
        VM.expectRevert(
            abi.encodeWithSelector(IP2PTrading.StageInvalid.selector, 1, IP2PTrading.Stage.Offered)
        );
        trading.settleTrade(1);
        bothSettle(trading, 2);
        VM.assertEq(token.balanceOf(bob), AMOUNT / 4, "the part's energy");
        VM.assertEq(currency.balanceOf(alice), PAYMENT / 4, "the part's payment");
        VM.prank(alice);
        trading.closeSellOrder(1);
        VM.assertEq(token.balanceOf(alice), AMOUNT * 3 / 4, "the rest is back");
        VM.assertEq(token.balanceOf(address(trading)), 0, "nothing is left behind");
    }

    function testARefundedPartGoesToTheSellerNotToTheOffer() external {
        offer(trading);
        takePart(trading, AMOUNT / 4);
        VM.warp(block.timestamp + SETTLEMENT_PERIOD_S);
        trading.refundTrade(2);
        VM.assertEq(token.balanceOf(alice), AMOUNT / 4, "the seller's");
        VM.assertEq(trading.tradeOf(1).amount, AMOUNT * 3 / 4, "the offer is as it was");
        VM.assertEq(currency.balanceOf(bob), PURSE_MICRO, "payment back");
    }

    function testAPartsPaymentIsRoundedUp() external {
        VM.prank(alice);
        trading.createSellOrder(AMOUNT, 333_333, VALIDITY_S);
        VM.assertEq(trading.paymentFor(1, 1e15), 334, "333.333 for 1 Wh");
        VM.assertEq(trading.paymentFor(1, 3e15), 1000, "999.999 for 3 Wh");
        VM.assertEq(trading.paymentFor(1, 1e18), 333_333, "1 kWh has no rounding");
        VM.expectRevert(abi.encodeWithSelector(IP2PTrading.AmountInvalid.selector, 1));
        trading.paymentFor(1, 1);
        takePart(trading, 1e15);
        VM.assertEq(currency.balanceOf(address(trading)), 334, "paid");
        VM.assertEq(trading.paymentOf(2), 334, "as told");
    }

    function testANativePartNeedsItsOwnValue() external {
        offer(nativeTrading);
        VM.startPrank(bob);
        VM.expectRevert(
            abi.encodeWithSelector(IP2PTrading.PaymentInvalid.selector, PAYMENT, PAYMENT / 2)
        );
        nativeTrading.matchPart{value: PAYMENT}(1, AMOUNT / 2);
        nativeTrading.matchPart{value: PAYMENT / 2}(1, AMOUNT / 2);
        VM.stopPrank();
        VM.assertEq(address(nativeTrading).balance, PAYMENT / 2, "held");
    }
}
