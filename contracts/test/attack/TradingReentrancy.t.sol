// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {P2PTrading} from "../../src/P2PTrading.sol";
import {IP2PTrading} from "../../src/interfaces/IP2PTrading.sol";
import {CallingToken, ReentrantTrader} from "../base/Traders.sol";
import {TradingCommunity} from "../base/TradingCommunity.sol";
import {VM} from "../base/Vm.sol";

/// @title TradingReentrancy: whoever is called in the middle of a call gets no second one
/// @dev In a market whose energy and money both call back, each state entry is tried within each other.
contract TradingReentrancy is TradingCommunity {
    CallingToken private energy;
    CallingToken private money;
    P2PTrading private market;
    bytes[] private entries;

    function setUp() public override {
        super.setUp();
        energy = new CallingToken();
        money = new CallingToken();
        market = new P2PTrading(ledger, energy, registry, address(money), SETTLEMENT_PERIOD_S);
        _endow(alice);
        _endow(bob);
        _endow(address(money));
        _endow(address(energy));
        entries.push(abi.encodeCall(IP2PTrading.createSellOrder, (WH, 1, 1)));
        entries.push(abi.encodeCall(IP2PTrading.matchOrder, (2)));
        entries.push(abi.encodeCall(IP2PTrading.matchPart, (2, WH)));
        entries.push(abi.encodeCall(IP2PTrading.closeSellOrder, (3)));
        entries.push(abi.encodeCall(IP2PTrading.settleTrade, (4)));
        entries.push(abi.encodeCall(IP2PTrading.refundTrade, (5)));
        entries.push(abi.encodeCall(IP2PTrading.fetchProceeds, (bob)));
        entries.push(abi.encodeCall(IP2PTrading.sendKeptEnergy, (bob)));
    }

    function testNothingWithinAnOffer() external {
        _tryAllWithin(energy, alice, abi.encodeCall(IP2PTrading.createSellOrder, (WH, 1, 1)));
    }

    function testNothingWithinAMatch() external {
        _offer(AMOUNT);
        _tryAllWithin(money, bob, abi.encodeCall(IP2PTrading.matchOrder, (1)));
    }

    function testNothingWithinAPartialMatch() external {
        _offer(AMOUNT);
        _tryAllWithin(money, bob, abi.encodeCall(IP2PTrading.matchPart, (1, WH)));
    }

    function testNothingWithinAClosing() external {
        _offer(AMOUNT);
        _tryAllWithin(energy, alice, abi.encodeCall(IP2PTrading.closeSellOrder, (1)));
    }

    function testNothingWithinASettlement() external {
        _matched();
        VM.prank(alice);
        market.settleTrade(1);
        bytes memory settle = abi.encodeCall(IP2PTrading.settleTrade, (1));
        uint256 start = VM.snapshotState();
        _tryAllWithin(energy, bob, settle);
        VM.revertToState(start);
        _tryAllWithin(money, bob, settle);
    }

    function testNothingWithinARefund() external {
        _matched();
        VM.warp(block.timestamp + SETTLEMENT_PERIOD_S);
        bytes memory refund = abi.encodeCall(IP2PTrading.refundTrade, (1));
        uint256 start = VM.snapshotState();
        _tryAllWithin(energy, carol, refund);
        VM.revertToState(start);
        _tryAllWithin(money, carol, refund);
    }

    function testNothingWithinAFetch() external {
        _matched();
        money.refuse(bob, true);
        VM.warp(block.timestamp + SETTLEMENT_PERIOD_S);
        market.refundTrade(1);
        money.refuse(bob, false);
        _tryAllWithin(money, bob, abi.encodeCall(IP2PTrading.fetchProceeds, (bob)));
    }

    function testNothingWithinASending() external {
        _offer(AMOUNT);
        energy.refuse(alice, true);
        VM.prank(alice);
        market.closeSellOrder(1);
        energy.refuse(alice, false);
        _tryAllWithin(energy, bob, abi.encodeCall(IP2PTrading.sendKeptEnergy, (alice)));
    }

    /// @dev With native currency the recipient itself is called.
    function testAReentrantBuyerIsRefundedOnce() external {
        ReentrantTrader buyer = new ReentrantTrader();
        VM.deal(address(buyer), PAYMENT);
        VM.deal(address(nativeTrading), PAYMENT); // another's
        offer(nativeTrading);
        VM.prank(address(buyer));
        nativeTrading.matchOrder{value: PAYMENT}(1);
        VM.warp(block.timestamp + SETTLEMENT_PERIOD_S);
        buyer.callBack(address(nativeTrading), abi.encodeCall(IP2PTrading.refundTrade, (1)));
        nativeTrading.refundTrade(1);
        _isLockedOut(buyer.answer());
        VM.assertEq(address(buyer).balance, PAYMENT, "once");
    }

    function testAReentrantSellerIsPaidOnce() external {
        ReentrantTrader seller = new ReentrantTrader();
        VM.prank(alice);
        token.transfer(address(seller), AMOUNT);
        VM.startPrank(address(seller));
        token.approve(address(nativeTrading), AMOUNT);
        nativeTrading.createSellOrder(AMOUNT, PRICE_PER_KWH, VALIDITY_S);
        VM.stopPrank();
        take(nativeTrading, PAYMENT);
        VM.deal(address(nativeTrading), 2 * PAYMENT); // another's
        VM.prank(bob);
        nativeTrading.settleTrade(1);
        seller.callBack(address(nativeTrading), abi.encodeCall(IP2PTrading.settleTrade, (1)));
        VM.prank(address(seller));
        nativeTrading.settleTrade(1);
        _isLockedOut(seller.answer());
        VM.assertEq(address(seller).balance, PAYMENT, "once");
    }

    /* HELP */

    /// @dev Make the call, and in its midst each entry; the call itself works all the same.
    function _tryAllWithin(CallingToken calling, address caller, bytes memory outer) private {
        uint256 start = VM.snapshotState();
        for (uint256 i; i < entries.length; ++i) {
            calling.callBack(address(market), entries[i]);
            VM.prank(caller);
            (bool success,) = address(market).call(outer);
            VM.assertTrue(success, "the outer call");
            _isLockedOut(calling.answer());
            VM.revertToState(start);
        }
    }

    function _isLockedOut(bytes memory answer) private pure {
        VM.assertEq(
            bytes32(bytes4(answer)),
            bytes32(bytes4(keccak256("ReentrancyGuardReentrantCall()"))),
            "the inner call"
        );
    }

    function _offer(uint256 amount) private {
        VM.prank(alice);
        market.createSellOrder(amount, PRICE_PER_KWH, VALIDITY_S);
    }

    function _matched() private {
        _offer(AMOUNT);
        VM.prank(bob);
        market.matchOrder(1);
    }

    function _endow(address account) private {
        energy.mint(account, AMOUNT);
        money.mint(account, PAYMENT);
        VM.startPrank(account);
        energy.approve(address(market), type(uint256).max);
        money.approve(address(market), type(uint256).max);
        VM.stopPrank();
    }
}
