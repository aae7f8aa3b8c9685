// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {IP2PTrading} from "../../src/interfaces/IP2PTrading.sol";
import {TradingCommunity} from "../base/TradingCommunity.sol";
import {VM} from "../base/Vm.sol";

/// @title TradingFuzz: rounding of parts, expiry, and deliveries that count once
/// forge-config: default.fuzz.runs = 256
contract TradingFuzz is TradingCommunity {
    uint256 private constant PARTS = 6;
    uint256 private constant UNITS = 1000; // units x Wh per kWh, so that nothing is rounded

    /// @dev However an offer is split, the seller gets its price for each part, and each buyer pays less
    /// than one unit more; what was not sold goes back to the Wh.
    function testFuzzPartsAreRoundedForTheSeller(uint40 energyWh, uint96 price, uint256 seed)
        external
    {
        uint256 leftWh = 1 + uint256(energyWh) % 2 ** 38;
        _endow(leftWh);
        VM.prank(alice);
        trading.createSellOrder(leftWh * WH, price, VALIDITY_S);
        uint256 paid;
        for (uint256 i; i < PARTS && leftWh != 0; ++i) {
            seed = uint256(keccak256(abi.encode(seed)));
            uint256 partWh = 1 + seed % leftWh;
            paid += _takePart(partWh, price);
            leftWh -= partWh;
        }
        VM.assertEq(currency.balanceOf(address(trading)), paid, "all payments are held");
        if (leftWh == 0) return;
        VM.prank(alice);
        trading.closeSellOrder(1);
        VM.assertEq(token.balanceOf(alice), leftWh * WH + AMOUNT, "the rest is back");
    }

    function testFuzzAnOfferIsTakenOrClosedNeverBoth(uint256 validityS, uint256 elapsedS) external {
        validityS = 1 + validityS % 366 days;
        elapsedS %= 2 * validityS;
        VM.prank(alice);
        trading.createSellOrder(AMOUNT, PRICE_PER_KWH, validityS);
        VM.warp(block.timestamp + elapsedS);
        uint256 start = VM.snapshotState();
        VM.prank(bob);
        (bool taken,) = address(trading).call(abi.encodeCall(IP2PTrading.matchOrder, (1)));
        VM.revertToState(start);
        VM.prank(carol);
        (bool closed,) = address(trading).call(abi.encodeCall(IP2PTrading.closeSellOrder, (1)));
        VM.assertTrue(taken == (elapsedS < validityS), "taken before its expiry");
        VM.assertTrue(closed == (elapsedS >= validityS), "closed by anyone from its expiry on");
    }

    /// forge-config: default.fuzz.runs = 64
    /// @dev Whatever the meter shows and whoever asks in which order: the trades that it settled have
    /// no more energy than was produced since the first of them was matched.
    function testFuzzADeliveryCountsOnce(uint256 seed) external {
        read(METER, block.timestamp, 1, 1000);
        offer(trading);
        for (uint256 i = 2; i < 2 + PARTS; ++i) {
            takePart(trading, WH * (1 + seed % 300));
            seed = uint256(keccak256(abi.encode(seed)));
        }
        uint256 produced;
        uint256 settled;
        for (uint256 i; i < 2 * PARTS; ++i) {
            seed = uint256(keccak256(abi.encode(seed)));
            produced += seed % 150;
            later(2 + i, 1000 + produced);
            settled += _settled(2 + (seed >> 64) % PARTS);
            VM.assertGe(produced, settled, "delivered before it was paid");
        }
        VM.assertGe(settled, 1, "some were");
    }

    /* HELP */

    /// @dev Another buyer takes a part; return what it paid.
    function _takePart(uint256 partWh, uint256 price) private returns (uint256 payment) {
        payment = trading.paymentFor(1, partWh * WH);
        VM.assertGe(payment * UNITS, partWh * price, "no less than the price");
        VM.assertGe(partWh * price + UNITS - 1, payment * UNITS, "less than a unit more");
        currency.mint(carol, payment);
        uint256 held = currency.balanceOf(address(trading));
        VM.startPrank(carol);
        currency.approve(address(trading), payment);
        trading.matchPart(1, partWh * WH);
        VM.stopPrank();
        VM.assertEq(currency.balanceOf(address(trading)) - held, payment, "as told");
    }

    /// @dev Let a stranger settle the trade if it can; return its energy in Wh then.
    function _settled(uint256 id) private returns (uint256 energyWh) {
        (bool done, bytes memory why) =
            address(trading).call(abi.encodeCall(IP2PTrading.settleTrade, (id)));
        if (done) return trading.tradeOf(id).amount / WH;
        bytes4 reason = bytes4(why);
        VM.assertTrue(
            reason == IP2PTrading.DeliveryNotShown.selector
                || reason == IP2PTrading.StageInvalid.selector,
            "not yet, or settled before"
        );
    }

    function _endow(uint256 energyWh) private {
        VM.prank(address(token));
        ledger.mintEnergy(alice, energyWh);
    }
}
