// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {P2PTrading} from "../../src/P2PTrading.sol";
import {IP2PTrading} from "../../src/interfaces/IP2PTrading.sol";
import {Sources} from "../../src/libraries/Sources.sol";
import {Community} from "./Community.sol";
import {VM} from "./Vm.sol";

/// @title TradingCommunity: Alice has 2 kWh and a meter, Bob has money, and both trust the markets
abstract contract TradingCommunity is Community {
    uint256 internal constant WH = 1e15;
    uint256 internal constant AMOUNT = 2e18; // 2 kWh
    uint256 internal constant PRICE_PER_KWH = 250_000;
    uint256 internal constant PAYMENT = 500_000;
    uint256 internal constant VALIDITY_S = 1 hours;

    function setUp() public virtual override {
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

    function offer(P2PTrading market) internal returns (uint256) {
        return offer(market, AMOUNT);
    }

    function offer(P2PTrading market, uint256 amount) internal returns (uint256) {
        VM.prank(alice);
        return market.createSellOrder(amount, PRICE_PER_KWH, VALIDITY_S);
    }

    function take(P2PTrading market, uint256 value) internal {
        VM.prank(bob);
        market.matchOrder{value: value}(1);
    }

    function takePart(P2PTrading market, uint256 amount) internal returns (uint256) {
        VM.prank(bob);
        return market.matchPart(1, amount);
    }

    function bothSettle(P2PTrading market, uint256 tradeId) internal {
        VM.prank(bob);
        market.settleTrade(tradeId);
        VM.prank(alice);
        market.settleTrade(tradeId);
    }

    /// @dev An hour passes, and Alice's meter shows this register.
    function later(uint256 sequence, uint256 productionWh) internal {
        VM.warp(block.timestamp + 1 hours);
        read(METER, block.timestamp, sequence, productionWh);
    }

    function pause() internal {
        VM.prank(guardian);
        ledger.setPaused(true);
    }

    function isIn(P2PTrading market, uint256 id, IP2PTrading.Stage expected) internal view {
        (IP2PTrading.Stage stage,) = market.stageOf(id);
        VM.assertEq(uint256(stage), uint256(expected), "stage");
    }
}
