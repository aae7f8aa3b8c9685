// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {IEnergyLedger} from "../../src/interfaces/IEnergyLedger.sol";
import {Batches, TestOrder} from "../base/Batches.sol";
import {Community} from "../base/Community.sol";
import {Consents} from "../base/Consents.sol";
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

    function testSettleBatchOf512() external {
        _settle(512, "settleBatch, 512 orders");
    }

    /// @dev Nothing is left over and no fee is due, so the ledger's own word does not change.
    function testLoneTrade() external {
        fund(bob);
        settle(START, trade(1500));
        VM.warp(START + 2 * INTERVAL_S);
        settle(START + INTERVAL_S, trade(1500));
        VM.snapshotGasLastCall("EnergyLedger", "settleBatch, a lone trade");
    }

    /// @dev Each of two accounts has 64 orders: one cold word each for all of them.
    function testManyOrdersOfTwoAccounts() external {
        TestOrder[] memory orders = new TestOrder[](128);
        fund(bob);
        settle(START, trade(1500));
        for (uint256 i; i < orders.length; ++i) {
            orders[i] = trade(1500)[i % 2];
            orders[i].terms = keccak256(abi.encode(i));
        }
        VM.warp(START + 2 * INTERVAL_S);
        settle(START + INTERVAL_S, orders);
        VM.snapshotGasLastCall("EnergyLedger", "settleBatch, 128 orders of two accounts");
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
        ledger.requestWithdrawal(1e6);
        VM.snapshotGasLastCall("EnergyLedger", "requestWithdrawal, first");
        VM.warp(block.timestamp + EXIT_DELAY_S);
        VM.prank(alice);
        ledger.withdraw(1e6, alice);
        VM.snapshotGasLastCall("EnergyLedger", "withdraw");
    }

    function testWithdrawalBroughtBySettler() external {
        fund(alice);
        IEnergyLedger.Withdrawal memory wanted =
            IEnergyLedger.Withdrawal(alice, bob, 1e6, 0, 0, block.timestamp);
        for (; wanted.nonce < 2; ++wanted.nonce) {
            (bytes32 r, bytes32 vs) = Consents.withdrawal(ALICE, ledger, wanted);
            VM.prank(operator);
            ledger.relayWithdrawal(wanted, r, vs);
        }
        VM.snapshotGasLastCall("EnergyLedger", "relayWithdrawal");
    }

    function testCancel() external {
        fund(alice);
        VM.prank(alice);
        ledger.cancelInterval(START + 2 * INTERVAL_S);
        VM.snapshotGasLastCall("EnergyLedger", "cancelInterval");
        VM.prank(alice);
        ledger.cancelIntervals(START + 3 * INTERVAL_S, type(uint96).max >> 56);
        VM.snapshotGasLastCall("EnergyLedger", "cancelIntervals, 40 of them");
    }

    /// @dev Alice's order is signed by Carol, whom she gave a mandate.
    function testMandate() external {
        fund(bob);
        settle(START, trade(1500));
        VM.prank(alice);
        ledger.setMandate(
            IEnergyLedger.Mandate({
                account: alice,
                delegate: carol,
                validFrom: uint40(START),
                validUntil: uint40(START + 1 days),
                energyPerIntervalMaxWh: 5000,
                buyLimitMax: PRICE,
                sellLimitMin: PRICE
            })
        );
        VM.snapshotGasLastCall("EnergyLedger", "setMandate");
        VM.warp(START + 2 * INTERVAL_S);
        settleRows(START + INTERVAL_S, _mandatedTrade(START + INTERVAL_S));
        VM.snapshotGasLastCall("EnergyLedger", "settleBatch, a lone trade, one side by mandate");
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

    function _mandatedTrade(uint64 start) private view returns (bytes memory) {
        TestOrder memory sale = trade(1500)[0];
        TestOrder memory purchase = trade(1500)[1];
        bytes32 digest = ledger.orderDigest(alice, start, Batches.SELL, 1500, PRICE, sale.terms);
        (bytes32 r, bytes32 vs) = Batches.compact(CAROL, digest);
        bytes memory mandated = Batches.encode(alice, sale, r, vs);
        bytes memory own = Batches.row(ledger, start, purchase);
        return alice < bob ? bytes.concat(mandated, own) : bytes.concat(own, mandated);
    }

    /// @dev The second interval of accounts that exist: what every later interval costs.
    function _settle(uint256 count, string memory name) private {
        TestOrder[] memory orders = _orders(count, START);
        for (uint256 i = 1; i < count; i += 2) {
            fund(VM.addr(orders[i].key)); // a buyer; a seller's word is still fresh
        }
        settle(START, orders);
        VM.snapshotGasLastCall("EnergyLedger", string.concat(name, ", sellers' first"));
        VM.warp(START + 2 * INTERVAL_S);
        orders = _orders(count, START + INTERVAL_S);
        settle(START + INTERVAL_S, orders);
        VM.snapshotGasLastCall("EnergyLedger", name);
        VM.warp(START + INTERVAL_S);
    }

    /// @dev Half sell and half buy 1.5 kWh; sellers produced more, so that energy stays with them, and
    /// buyers pay a fee.
    function _orders(uint256 count, uint64 start) private pure returns (TestOrder[] memory orders) {
        orders = new TestOrder[](count);
        for (uint256 i; i < count; ++i) {
            uint256 key = uint256(keccak256(abi.encode(count, i)));
            orders[i] = i % 2 == 0
                ? Batches.sell(key, 1500, PRICE - 1000, PRICE)
                : Batches.buy(key, 1500, PRICE + 1000, PRICE);
            if (i % 2 == 0) orders[i].meteredWh = 1750;
            else orders[i].value += 1;
            orders[i].terms = keccak256(abi.encode(key, start));
        }
    }
}
