// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

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
/// @dev Half of the orders buy, half sell. Trades join random pairs at random prices; each order
/// then has a limit that its trades keep, and more energy signed than was executed.
library RandomBatch {
    function make(Dice memory dice, uint256[] memory keys, int64 priceMin, int64 priceMax)
        internal
        pure
        returns (TestOrder[] memory orders)
    {
        orders = _orders(dice, keys, priceMin, priceMax);
        uint256 trades = dice.between(orders.length, 3 * orders.length);
        for (uint256 i; i < trades; ++i) {
            uint256 buy = 2 * dice.between(0, orders.length / 2 - 1);
            uint256 sell = 2 * dice.between(0, orders.length / 2 - 1) + 1;
            // The first trades give every order one, so that no row is empty.
            if (i < orders.length / 2) (buy, sell) = (2 * i, 2 * i + 1);
            _trade(dice, orders[buy], orders[sell], priceMin, priceMax);
        }
        for (uint256 i; i < orders.length; ++i) {
            _finish(dice, orders[i]);
        }
    }

    /// @dev Orders without trades; the limits start where the first trade narrows them.
    function _orders(Dice memory dice, uint256[] memory keys, int64 priceMin, int64 priceMax)
        private
        pure
        returns (TestOrder[] memory orders)
    {
        orders = new TestOrder[](2 * dice.between(1, 6));
        for (uint256 i; i < orders.length; ++i) {
            orders[i].key = keys[dice.between(0, keys.length - 1)];
            orders[i].side = i % 2 == 0 ? Batches.BUY : Batches.SELL;
            orders[i].limit = i % 2 == 0 ? priceMin : priceMax;
            orders[i].terms = bytes32(dice.roll());
        }
    }

    function _trade(
        Dice memory dice,
        TestOrder memory buy,
        TestOrder memory sell,
        int64 priceMin,
        int64 priceMax
    ) private pure {
        uint48 energyWh = uint48(dice.between(1, 5000));
        int64 price = int64(dice.price(priceMin, priceMax));
        int64 value = Batches.valueOf(energyWh, price);
        if (price > buy.limit) buy.limit = price;
        if (price < sell.limit) sell.limit = price;
        buy.executedWh += energyWh;
        sell.executedWh += energyWh;
        buy.value += value;
        sell.value += value;
        buy.trades += 1;
        sell.trades += 1;
    }

    function _finish(Dice memory dice, TestOrder memory order) private pure {
        order.signedWh = order.executedWh + uint48(dice.between(0, 1000));
        if (order.side == Batches.BUY) {
            order.meteredWh = uint48(dice.between(0, order.executedWh));
            if (dice.between(0, 9) == 0) order.limit = type(int64).max;
        } else {
            order.meteredWh = order.executedWh + uint48(dice.between(0, 3000));
            if (dice.between(0, 9) == 0) order.limit = -type(int64).max;
        }
    }
}
