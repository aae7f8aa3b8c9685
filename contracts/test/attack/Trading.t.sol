// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {P2PTrading} from "../../src/P2PTrading.sol";
import {IP2PTrading} from "../../src/interfaces/IP2PTrading.sol";
import {AccountWordLibrary} from "../../src/types/AccountWord.sol";
import {FalseToken, FeeToken, SilentToken} from "../base/Tokens.sol";
import {BusyTrader, GasBurner} from "../base/Traders.sol";
import {TradingCommunity} from "../base/TradingCommunity.sol";
import {VM, Vm} from "../base/Vm.sol";

/// @title TradingAttacks: parties, strangers and currencies that want more than was agreed
contract TradingAttacks is TradingCommunity {
    /* PARTIES AND STRANGERS */

    function testAStrangersWordCountsForNobody() external {
        offer(trading);
        take(trading, 0);
        VM.prank(alice);
        trading.settleTrade(1);
        VM.prank(carol);
        VM.expectRevert(abi.encodeWithSelector(IP2PTrading.DeliveryNotShown.selector, 1));
        trading.settleTrade(1);
        isIn(trading, 1, IP2PTrading.Stage.Matched);
    }

    /// @dev Who brings the news of a reading is no party by that.
    function testAStrangerStartsADeliveryButAgreesToNothing() external {
        offer(trading);
        take(trading, 0);
        later(1, 5000);
        VM.recordLogs();
        VM.prank(carol);
        trading.settleTrade(1);
        Vm.Log[] memory logs = VM.getRecordedLogs();
        VM.assertEq(logs.length, 1, "one event");
        VM.assertEq(logs[0].topics[0], IP2PTrading.DeliveryStarted.selector, "the start");
    }

    function testOnesAgreementToOneTradeIsNoneToAnother() external {
        offer(trading);
        takePart(trading, AMOUNT / 4);
        takePart(trading, AMOUNT / 4);
        VM.prank(bob);
        trading.settleTrade(2);
        VM.prank(alice);
        trading.settleTrade(3);
        isIn(trading, 2, IP2PTrading.Stage.Matched);
        isIn(trading, 3, IP2PTrading.Stage.Matched);
    }

    function testSettlementAndRefundExcludeEachOther() external {
        offer(trading);
        takePart(trading, AMOUNT / 2);
        take(trading, 0);
        VM.warp(block.timestamp + SETTLEMENT_PERIOD_S);
        bothSettle(trading, 1);
        VM.expectRevert(
            abi.encodeWithSelector(
                IP2PTrading.StageInvalid.selector, 1, IP2PTrading.Stage.Completed
            )
        );
        trading.refundTrade(1);
        trading.refundTrade(2);
        VM.prank(alice);
        VM.expectRevert(
            abi.encodeWithSelector(IP2PTrading.StageInvalid.selector, 2, IP2PTrading.Stage.Closed)
        );
        trading.settleTrade(2);
        VM.assertEq(currency.balanceOf(alice), PAYMENT / 2, "paid once");
        VM.assertEq(currency.balanceOf(bob), PURSE_MICRO - PAYMENT / 2, "refunded once");
    }

    function testAMatchedOrClosedOfferIsNotClosedAgain() external {
        offer(trading, AMOUNT / 2);
        offer(trading, AMOUNT / 2);
        take(trading, 0);
        VM.startPrank(alice);
        VM.expectRevert(
            abi.encodeWithSelector(IP2PTrading.StageInvalid.selector, 1, IP2PTrading.Stage.Matched)
        );
        trading.closeSellOrder(1);
        trading.closeSellOrder(2);
        VM.expectRevert(
            abi.encodeWithSelector(IP2PTrading.StageInvalid.selector, 2, IP2PTrading.Stage.Closed)
        );
        trading.closeSellOrder(2);
        VM.assertEq(token.balanceOf(alice), AMOUNT / 2, "once");
    }

    /// @dev The buyer waits until the period is over and calls before anyone settles.
    function testARefundCannotForestallADelivery() external {
        read(METER, block.timestamp, 1, 5000);
        offer(trading);
        take(trading, 0);
        later(2, 7000);
        VM.warp(block.timestamp + SETTLEMENT_PERIOD_S);
        VM.prank(bob);
        VM.expectRevert(abi.encodeWithSelector(IP2PTrading.DeliveryWasShown.selector, 1));
        trading.refundTrade(1);
        trading.settleTrade(1);
        VM.assertEq(currency.balanceOf(alice), PAYMENT, "the seller delivered");
    }

    function testOthersDeliveriesDoNotHoldUpARefund() external {
        read(METER, block.timestamp, 1, 0);
        offer(trading, AMOUNT / 2);
        offer(trading, AMOUNT / 2);
        VM.startPrank(bob);
        trading.matchOrder(1);
        trading.matchOrder(2);
        VM.stopPrank();
        later(2, 1500);
        trading.settleTrade(1);
        VM.warp(block.timestamp + SETTLEMENT_PERIOD_S);
        trading.refundTrade(2); // 500 Wh are left for it
        isIn(trading, 2, IP2PTrading.Stage.Closed);
    }

    function testDustPartsAreNotFree() external {
        VM.prank(alice);
        trading.createSellOrder(AMOUNT, 1, VALIDITY_S); // 1 Wh is worth a thousandth of a unit
        for (uint256 i; i < 5; ++i) {
            takePart(trading, WH);
        }
        VM.assertEq(currency.balanceOf(address(trading)), 5, "a unit each");
    }

    /// @dev Somebody else is faster: the value fits no more, and nobody pays for what he does not get.
    function testASmallerRestTakesNoLargerValue() external {
        offer(nativeTrading);
        VM.deal(carol, 1 ether);
        VM.prank(carol);
        nativeTrading.matchPart{value: PAYMENT / 4}(1, AMOUNT / 4);
        VM.startPrank(bob);
        VM.expectRevert(
            abi.encodeWithSelector(IP2PTrading.PaymentInvalid.selector, PAYMENT, PAYMENT * 3 / 4)
        );
        nativeTrading.matchOrder{value: PAYMENT}(1);
        VM.expectRevert(
            abi.encodeWithSelector(IP2PTrading.AmountAboveOffer.selector, 1, AMOUNT, AMOUNT * 3 / 4)
        );
        nativeTrading.matchPart{value: PAYMENT}(1, AMOUNT);
    }

    /* CURRENCIES */

    function testAFeeOnTransferPartIsRefused() external {
        FeeToken money = new FeeToken();
        P2PTrading market = _marketOf(address(money));
        money.mint(bob, PAYMENT);
        VM.startPrank(bob);
        money.approve(address(market), PAYMENT);
        VM.expectRevert(
            abi.encodeWithSelector(
                IP2PTrading.PaymentInvalid.selector, PAYMENT / 2 * 99 / 100, PAYMENT / 2
            )
        );
        market.matchPart(1, AMOUNT / 2);
        VM.assertEq(market.tradeOf(1).amount, AMOUNT, "the offer is whole");
    }

    function testAFalseReturningCurrencyPaysNothing() external {
        FalseToken money = new FalseToken();
        P2PTrading market = _marketOf(address(money));
        money.mint(bob, PAYMENT);
        money.refuse(true);
        VM.startPrank(bob);
        money.approve(address(market), PAYMENT);
        VM.expectRevert(
            abi.encodeWithSignature("SafeERC20FailedOperation(address)", address(money))
        );
        market.matchOrder(1);
    }

    function testARefusedFetchLosesNothing() external {
        FalseToken money = new FalseToken();
        P2PTrading market = _marketOf(address(money));
        money.mint(bob, PAYMENT);
        VM.startPrank(bob);
        money.approve(address(market), PAYMENT);
        market.matchOrder(1);
        money.refuse(true);
        VM.warp(block.timestamp + SETTLEMENT_PERIOD_S);
        market.refundTrade(1);
        VM.assertEq(token.balanceOf(alice), AMOUNT, "the seller has its energy");
        VM.expectRevert(abi.encodeWithSelector(IP2PTrading.PaymentRefused.selector, bob, PAYMENT));
        market.fetchProceeds(bob);
        money.refuse(false);
        market.fetchProceeds(bob);
        VM.assertEq(money.balanceOf(bob), PAYMENT, "all of it");
    }

    function testASilentCurrencyPays() external {
        SilentToken money = new SilentToken();
        P2PTrading market = _marketOf(address(money));
        money.mint(bob, PAYMENT);
        VM.prank(bob);
        market.matchOrder(1);
        bothSettle(market, 1);
        VM.assertEq(money.balanceOf(alice), PAYMENT, "paid");
    }

    function testACurrencyWithoutCodeTakesNoEnergy() external {
        P2PTrading market = _marketOf(address(0xC0DE));
        VM.prank(bob);
        VM.expectRevert();
        market.matchOrder(1);
        VM.prank(alice);
        market.closeSellOrder(1);
        VM.assertEq(token.balanceOf(alice), AMOUNT, "back");
    }

    function testStrayMoneyPaysForNobody() external {
        offer(trading);
        currency.mint(address(trading), PAYMENT);
        VM.prank(carol);
        VM.expectRevert();
        trading.matchOrder(1);
    }

    /* RECIPIENTS */

    function testAGasBurningBuyerCostsLittle() external {
        GasBurner buyer = new GasBurner();
        _refundTo(address(buyer));
        VM.assertEq(nativeTrading.proceeds(address(buyer)), PAYMENT, "kept");
    }

    function testAContractWalletIsPaidAtOnce() external {
        BusyTrader buyer = new BusyTrader();
        _refundTo(address(buyer));
        VM.assertEq(address(buyer).balance, PAYMENT, "paid");
    }

    /* COMPLIANCE */

    function testABlockedBuyerHoldsUpNobody() external {
        ledger.setCompliance(address(compliance), false);
        offer(trading);
        take(trading, 0);
        _block(bob, false, true);
        VM.prank(bob);
        trading.settleTrade(1);
        VM.expectEmit(address(trading));
        emit IP2PTrading.EnergyKept(bob, AMOUNT);
        VM.prank(alice);
        trading.settleTrade(1);
        VM.assertEq(currency.balanceOf(alice), PAYMENT, "the seller is paid");
        VM.assertEq(trading.keptEnergy(bob), AMOUNT, "the buyer's energy is kept");
        VM.expectRevert();
        trading.sendKeptEnergy(bob);
        VM.assertEq(trading.keptEnergy(bob), AMOUNT, "still");
        _block(bob, false, false);
        VM.prank(carol);
        trading.sendKeptEnergy(bob);
        VM.assertEq(token.balanceOf(bob), AMOUNT, "sent once he may get it");
        VM.expectRevert(abi.encodeWithSelector(IP2PTrading.NothingKept.selector, bob));
        trading.sendKeptEnergy(bob);
    }

    function testABlockedSellerHoldsUpNoRefund() external {
        ledger.setCompliance(address(compliance), false);
        offer(trading);
        take(trading, 0);
        _block(alice, true, true);
        VM.warp(block.timestamp + SETTLEMENT_PERIOD_S);
        trading.refundTrade(1);
        VM.assertEq(currency.balanceOf(bob), PURSE_MICRO, "the buyer has its money");
        VM.assertEq(trading.keptEnergy(alice), AMOUNT, "the seller's energy is kept");
    }

    function testABlockedSellersOfferCloses() external {
        ledger.setCompliance(address(compliance), false);
        offer(trading);
        _block(alice, true, true);
        VM.prank(alice);
        trading.closeSellOrder(1);
        VM.assertEq(trading.keptEnergy(alice), AMOUNT, "kept for her");
    }

    function testBlockedPartiesBeginNoTrade() external {
        ledger.setCompliance(address(compliance), false);
        offer(trading);
        _block(bob, false, true);
        VM.startPrank(bob);
        bytes memory why = abi.encodeWithSelector(IP2PTrading.PartyBlocked.selector, bob);
        VM.expectRevert(why);
        trading.matchOrder(1);
        VM.expectRevert(why);
        trading.matchPart(1, WH);
        VM.stopPrank();
        _block(bob, false, false);
        _block(alice, true, false);
        VM.startPrank(bob);
        VM.expectRevert(abi.encodeWithSelector(IP2PTrading.PartyBlocked.selector, alice));
        trading.matchOrder(1);
        VM.stopPrank();
        _block(alice, false, true); // a seller need not be able to get energy
        _block(bob, true, false); // nor a buyer to give it
        take(trading, 0);
    }

    /// @dev The ledger's flags stay when the contract that set them is no more asked.
    function testFlaggedPartiesBeginNoTrade() external {
        offer(trading);
        _flag(alice, AccountWordLibrary.NO_SEND);
        VM.startPrank(bob);
        VM.expectRevert(abi.encodeWithSelector(IP2PTrading.PartyBlocked.selector, alice));
        trading.matchOrder(1);
        VM.stopPrank();
        _flag(alice, AccountWordLibrary.NO_RECEIVE);
        _flag(bob, AccountWordLibrary.NO_RECEIVE);
        VM.startPrank(bob);
        VM.expectRevert(abi.encodeWithSelector(IP2PTrading.PartyBlocked.selector, bob));
        trading.matchPart(1, WH);
        VM.stopPrank();
        _flag(bob, AccountWordLibrary.NO_SEND);
        take(trading, 0);
        isIn(trading, 1, IP2PTrading.Stage.Matched);
    }

    /* HELP */

    /// @dev A former compliance contract left these flags, and there is none now.
    function _flag(address account, uint256 flags) private {
        ledger.setCompliance(address(this), false);
        ledger.setAccountFlags(account, uint8(flags));
        ledger.setCompliance(address(0), false);
    }

    /// @dev Alice offers her energy in a market of this currency.
    function _marketOf(address money) private returns (P2PTrading market) {
        market = newTrading(money);
        VM.startPrank(alice);
        token.approve(address(market), AMOUNT);
        market.createSellOrder(AMOUNT, PRICE_PER_KWH, VALIDITY_S);
        VM.stopPrank();
    }

    function _block(address account, bool sending, bool receiving) private {
        VM.prank(complianceOfficer);
        compliance.setBlocked(account, sending, receiving);
    }

    /// @dev The buyer takes Alice's native offer, and anyone refunds it for a bounded price.
    function _refundTo(address buyer) private {
        offer(nativeTrading);
        VM.deal(buyer, PAYMENT);
        VM.prank(buyer);
        nativeTrading.matchOrder{value: PAYMENT}(1);
        VM.warp(block.timestamp + SETTLEMENT_PERIOD_S);
        uint256 before = gasleft();
        nativeTrading.refundTrade(1);
        VM.assertGe(350_000, before - gasleft(), "gas of a refund");
        VM.assertEq(token.balanceOf(alice), AMOUNT, "the seller has its energy");
    }
}
