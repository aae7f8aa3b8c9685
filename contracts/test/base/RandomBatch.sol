// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {IEnergyLedger} from "../../src/interfaces/IEnergyLedger.sol";
import {Batches, TestOrder} from "./Batches.sol";

/// @dev A reproducible source of numbers.
struct Dice {
    uint256 seed;
    uint256 rolls;
}

using Random for Dice global;

library Random {
    function roll(Dice memory dice) internal pure returns (uint256) {
        return uint256(keccak256(abi.encode(dice.seed, dice.rolls++)));
    }

    /// @dev From low to high, both included.
    function price(Dice memory dice, int256 low, int256 high) internal pure returns (int256) {
        return low + int256(dice.roll() % uint256(high - low + 1));
    }

    function between(Dice memory dice, uint256 low, uint256 high) internal pure returns (uint256) {
        return low + dice.roll() % (high - low + 1);
    }
}

/// @title RandomBatch: orders that traded with each other, as a market makes them
/// @dev Half of the orders buy, half sell. Trades join random pairs at random prices, with a fee; some
/// sellers deliver less, some buyers take less, and compensate the other. Each order then has a limit
/// that its trades keep, and more energy signed than was traded.
library RandomBatch {
    function make(Dice memory dice, uint256[] memory keys, IEnergyLedger.Terms memory terms)
        internal
        pure
        returns (TestOrder[] memory orders)
    {
        orders = _orders(dice, keys, terms);
        int64 feePrice = int64(dice.price(0, int64(uint64(terms.feeMaxMicroPerKwh))));
        uint256 trades = dice.between(orders.length, 3 * orders.length);
        for (uint256 i; i < trades; ++i) {
            uint256 buy = 2 * dice.between(0, orders.length / 2 - 1);
            uint256 sell = 2 * dice.between(0, orders.length / 2 - 1) + 1;
            // The first trades give every order one, so that no row is empty.
            if (i < orders.length / 2) (buy, sell) = (2 * i, 2 * i + 1);
            _trade(dice, orders[buy], orders[sell], terms, feePrice);
        }
        for (uint256 i; i < orders.length; ++i) {
            _finish(dice, orders[i]);
        }
    }

    /// @dev What the batch's buyers pay and its sellers do not get.
    function feesOf(TestOrder[] memory orders) internal pure returns (int64 feesMicro) {
        for (uint256 i; i < orders.length; ++i) {
            feesMicro += orders[i].side == Batches.BUY ? orders[i].value : -orders[i].value;
        }
    }

    /// @dev Make one field wrong, or nearly.
    function spoil(Dice memory dice, TestOrder memory order, uint48 meteredMaxWh) internal pure {
        uint256 field = dice.between(0, 7);
        uint48 one = uint48(dice.between(0, 1));
        if (field == 0) order.executedWh = order.executedWh + 2 * one - 1;
        else if (field == 1) order.signedWh = order.executedWh + order.shortWh - one;
        else if (field == 2) order.meteredWh = order.executedWh + 2 * one - 1;
        else if (field == 3) order.value = order.value + 2 * int64(uint64(one)) - 1;
        else if (field == 4) order.trades = one == 0 ? 0 : uint16(dice.roll());
        else if (field == 5) order.side = uint8(dice.between(0, 255));
        else if (field == 6) order.limit = int64(uint64(dice.roll()));
        else order.meteredWh = uint48(dice.between(meteredMaxWh - 5, meteredMaxWh + 5));
    }

    /// @dev Orders without trades; the limits start where the first trade narrows them.
    function _orders(Dice memory dice, uint256[] memory keys, IEnergyLedger.Terms memory terms)
        private
        pure
        returns (TestOrder[] memory orders)
    {
        orders = new TestOrder[](2 * dice.between(1, 6));
        for (uint256 i; i < orders.length; ++i) {
            orders[i].key = keys[dice.between(0, keys.length - 1)];
            orders[i].side = i % 2 == 0 ? Batches.BUY : Batches.SELL;
            orders[i].limit = i % 2 == 0 ? terms.priceMin : terms.priceMax;
            orders[i].terms = bytes32(dice.roll());
        }
    }

    function _trade(
        Dice memory dice,
        TestOrder memory buy,
        TestOrder memory sell,
        IEnergyLedger.Terms memory terms,
        int64 feePrice
    ) private pure {
        uint48 energyWh = uint48(dice.between(1, 5000));
        int64 price = int64(dice.price(terms.priceMin, terms.priceMax - feePrice));
        if (price + feePrice > buy.limit) buy.limit = price + feePrice;
        if (price < sell.limit) sell.limit = price;
        (uint48 shortWh, int64 extra) = _shortfall(dice, energyWh, price, terms);
        int64 value = Batches.valueOf(energyWh - shortWh, price) + extra;
        buy.value += value + Batches.valueOf(energyWh - shortWh, feePrice);
        sell.value += value;
        (buy.executedWh, sell.executedWh) =
        (buy.executedWh + energyWh - shortWh, sell.executedWh + energyWh - shortWh);
        (buy.shortWh, sell.shortWh) = (buy.shortWh + shortWh, sell.shortWh + shortWh);
        (buy.trades, sell.trades) = (buy.trades + 1, sell.trades + 1);
    }

    /// @dev Sometimes a part of a trade does not happen; who failed compensates the other.
    function _shortfall(
        Dice memory dice,
        uint48 energyWh,
        int64 price,
        IEnergyLedger.Terms memory terms
    ) private pure returns (uint48 shortWh, int64 extra) {
        uint256 kind = dice.between(0, 9);
        if (kind > 1 || energyWh == 1) return (0, 0);
        shortWh = uint48(dice.between(1, energyWh - 1));
        int64 perKwh = kind == 0 ? terms.shortfallPriceMax - price : price - terms.underUsePriceMin;
        if (perKwh < 0) perKwh = 0;
        extra = int64(dice.price(0, Batches.valueOf(shortWh, perKwh)));
        if (kind == 0) extra = -extra;
    }

    function _finish(Dice memory dice, TestOrder memory order) private pure {
        order.signedWh = order.executedWh + order.shortWh + uint48(dice.between(0, 1000));
        if (order.side == Batches.BUY) {
            order.meteredWh = uint48(dice.between(0, order.executedWh));
            if (dice.between(0, 9) == 0) order.limit = type(int64).max;
        } else {
            order.meteredWh = order.executedWh + uint48(dice.between(0, 3000));
            if (dice.between(0, 9) == 0) order.limit = type(int64).min;
        }
    }
}
