// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {Batches, TestOrder} from "../base/Batches.sol";
import {Community} from "../base/Community.sol";
import {VM} from "../base/Vm.sol";

/// @title GasTest: whole transactions' gas, written to `gas/` and compared on every run
/// @dev Isolated: each call is a transaction with its base cost, its calldata and cold storage.
/// forge-config: default.isolate = true
contract GasTest is Community {
    function testSettleBatch() external {
        _settle(2, "settleBatch, 2 orders");
        _settle(8, "settleBatch, 8 orders");
        _settle(32, "settleBatch, 32 orders");
        _settle(128, "settleBatch, 128 orders");
    }

    /// @dev The seller has no word yet: its first contact is the only fresh slot it ever costs.
    function testFirstUse() external {
        TestOrder[] memory orders = _orders(2, START);
        fund(VM.addr(orders[1].key));
        settle(START, orders);
        VM.snapshotGasLastCall("EnergyLedger", "settleBatch, 2 orders, one of a new account");
    }

    function testMoney() external {
        currency.mint(alice, PURSE_MICRO);
        VM.prank(alice);
        currency.approve(address(ledger), PURSE_MICRO);
        fund(bob);
        VM.prank(alice);
        ledger.deposit(1e6);
        VM.snapshotGasLastCall("EnergyLedger", "deposit, first");
        VM.prank(alice);
        ledger.deposit(1e6);
        VM.snapshotGasLastCall("EnergyLedger", "deposit");
        VM.prank(alice);
        ledger.withdraw(1e6, alice);
        VM.snapshotGasLastCall("EnergyLedger", "withdraw");
    }

    function testMeter() external {
        register(METER, ALICE);
        VM.snapshotGasLastCall("SmartMeterRegistry", "registerMeter");
        read(METER, block.timestamp - 60, 1, 1000);
        read(METER, block.timestamp, 2, 1100);
        VM.snapshotGasLastCall("SmartMeterRegistry", "submitReading");
    }

    function testP2P() external {
        register(METER, ALICE);
        VM.prank(oracle);
        token.mintEnergyTokens(alice, 2e18, 1);
        VM.snapshotGasLastCall("EnergyToken", "mintEnergyTokens");
        VM.prank(alice);
        token.transfer(bob, 1e18);
        VM.snapshotGasLastCall("EnergyToken", "transfer, to a new account");
        VM.prank(alice);
        token.approve(address(trading), 1e18);
        VM.prank(alice);
        trading.createSellOrder(1e18, 200_000, 1 hours);
        VM.snapshotGasLastCall("P2PTrading", "createSellOrder");
        currency.mint(bob, 1e6);
        VM.prank(bob);
        currency.approve(address(trading), 1e6);
        VM.prank(bob);
        trading.matchOrder(1);
        VM.snapshotGasLastCall("P2PTrading", "matchOrder");
        VM.prank(bob);
        trading.settleTrade(1);
        VM.prank(alice);
        trading.settleTrade(1);
        VM.snapshotGasLastCall("P2PTrading", "settleTrade");
    }

    function testGrid() external {
        VM.prank(gridOperator);
        grid.updateGridMetrics(1, 5000, 10_000);
        VM.snapshotGasLastCall("GridManagement", "updateGridMetrics, first");
        VM.prank(gridOperator);
        grid.updateGridMetrics(1, 6000, 10_000);
        VM.snapshotGasLastCall("GridManagement", "updateGridMetrics");
    }

    /// @dev The second interval of accounts that exist: what every later interval costs.
    function _settle(uint256 count, string memory name) private {
        TestOrder[] memory orders = _orders(count, START);
        for (uint256 i; i < count; ++i) {
            fund(VM.addr(orders[i].key));
        }
        settle(START, orders);
        VM.warp(START + 2 * INTERVAL_S);
        orders = _orders(count, START + INTERVAL_S);
        settle(START + INTERVAL_S, orders);
        VM.snapshotGasLastCall("EnergyLedger", name);
        VM.warp(START + INTERVAL_S);
    }

    /// @dev Half sell and half buy 1.5 kWh; sellers produced more, so that energy stays with them.
    function _orders(uint256 count, uint64 start) private pure returns (TestOrder[] memory orders) {
        orders = new TestOrder[](count);
        for (uint256 i; i < count; ++i) {
            uint256 key = uint256(keccak256(abi.encode(count, i)));
            orders[i] = i % 2 == 0
                ? Batches.sell(key, 1500, PRICE - 1000, PRICE)
                : Batches.buy(key, 1500, PRICE + 1000, PRICE);
            if (i % 2 == 0) orders[i].meteredWh = 1750;
            orders[i].terms = keccak256(abi.encode(key, start));
        }
    }
}
