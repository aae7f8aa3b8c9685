// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {EnergyLedger} from "../../src/EnergyLedger.sol";
import {DemoCurrency} from "../../src/dev/DemoCurrency.sol";
import {IEnergyLedger} from "../../src/interfaces/IEnergyLedger.sol";
import {Community} from "../base/Community.sol";
import {VM} from "../base/Vm.sol";

/// @title LedgerMoneyTest: deposits, withdrawals, the pause, and the ledger's configuration
contract LedgerMoneyTest is Community {
    function testDepositCreditsTheCaller() external {
        _give(alice, 5e6);
        VM.expectEmit(address(ledger));
        emit IEnergyLedger.Deposited(alice, alice, 5e6);
        VM.prank(alice);
        VM.assertEq(ledger.deposit(5e6), 5e6, "credited");
        VM.assertEq(moneyOf(alice), 5e6, "in the ledger");
        VM.assertEq(currency.balanceOf(address(ledger)), 5e6, "held");
    }

    function testDepositForCreditsAnother() external {
        _give(alice, 5e6);
        VM.expectEmit(address(ledger));
        emit IEnergyLedger.Deposited(bob, alice, 5e6);
        VM.prank(alice);
        ledger.depositFor(bob, 5e6);
        VM.assertEq(moneyOf(bob), 5e6, "bob's");
        VM.assertEq(moneyOf(alice), 0, "not alice's");
    }

    function testDepositRefusesNothing() external {
        VM.expectRevert(IEnergyLedger.AmountZero.selector);
        ledger.deposit(0);
    }

    function testDepositRefusesTheZeroAccount() external {
        VM.expectRevert(abi.encodeWithSelector(IEnergyLedger.RecipientInvalid.selector, address(0)));
        ledger.depositFor(address(0), 1);
    }

    function testDepositRefusesAnOverflow() external {
        fund(alice, type(uint72).max);
        currency.mint(address(this), 1);
        currency.approve(address(ledger), 1);
        VM.expectRevert(abi.encodeWithSelector(IEnergyLedger.AccountOverflow.selector, alice));
        ledger.depositFor(alice, 1);
    }

    function testWithdraw() external {
        fund(alice, 5e6);
        VM.expectEmit(address(ledger));
        emit IEnergyLedger.Withdrawn(alice, bob, 2e6);
        VM.prank(alice);
        ledger.withdraw(2e6, bob);
        VM.assertEq(moneyOf(alice), 3e6, "the rest");
        VM.assertEq(currency.balanceOf(bob), 2e6, "sent");
    }

    function testWithdrawRefusals() external {
        fund(alice, 5e6);
        VM.startPrank(alice);
        VM.expectRevert(IEnergyLedger.AmountZero.selector);
        ledger.withdraw(0, alice);
        VM.expectRevert(abi.encodeWithSelector(IEnergyLedger.RecipientInvalid.selector, address(0)));
        ledger.withdraw(1, address(0));
        VM.expectRevert(
            abi.encodeWithSelector(IEnergyLedger.RecipientInvalid.selector, address(ledger))
        );
        ledger.withdraw(1, address(ledger));
        VM.expectRevert(
            abi.encodeWithSelector(
                IEnergyLedger.AccountMoneyInsufficient.selector, alice, 5e6, 5e6 + 1
            )
        );
        ledger.withdraw(5e6 + 1, alice);
    }

    function testPauseStopsDepositsNotWithdrawals() external {
        fund(alice, 5e6);
        VM.expectEmit(address(ledger));
        emit IEnergyLedger.PausedSet(true);
        VM.prank(guardian);
        ledger.setPaused(true);
        VM.assertTrue(ledger.paused(), "paused");
        VM.expectRevert(IEnergyLedger.TradingPaused.selector);
        ledger.deposit(1);
        VM.prank(alice);
        ledger.withdraw(5e6, alice);
        VM.assertEq(currency.balanceOf(alice), 5e6, "left while paused");
        VM.prank(alice);
        ledger.cancelInterval(START);
    }

    function testOnlyTheGuardianPauses() external {
        VM.expectRevert(abi.encodeWithSignature("AccessManagedUnauthorized(address)", operator));
        VM.prank(operator);
        ledger.setPaused(true);
    }

    function testEnergyTokenIsNamedOnce() external {
        VM.expectRevert(
            abi.encodeWithSelector(IEnergyLedger.EnergyTokenInvalid.selector, address(currency))
        );
        ledger.setEnergyToken(address(currency));
        EnergyLedger other = newLedger();
        VM.expectRevert(abi.encodeWithSelector(IEnergyLedger.EnergyTokenInvalid.selector, alice));
        other.setEnergyToken(alice);
        VM.expectEmit(address(other));
        emit IEnergyLedger.EnergyTokenSet(address(token));
        other.setEnergyToken(address(token));
        VM.assertEq(other.energyToken(), address(token), "named");
        VM.expectRevert(abi.encodeWithSignature("AccessManagedUnauthorized(address)", alice));
        VM.prank(alice);
        other.setEnergyToken(address(token));
    }

    function testEnergyChangesOnlyThroughTheToken() external {
        bytes memory why =
            abi.encodeWithSelector(IEnergyLedger.EnergyTokenOnly.selector, address(this));
        VM.expectRevert(why);
        ledger.moveEnergy(alice, bob, 1);
        VM.expectRevert(why);
        ledger.mintEnergy(alice, 1);
        VM.expectRevert(why);
        ledger.burnEnergy(alice, 1);
        VM.expectRevert(why);
        ledger.useInterval(alice, START);
    }

    function testViews() external view {
        VM.assertEq(ledger.currency(), address(currency), "currency");
        VM.assertEq(ledger.energyToken(), address(token), "token");
        VM.assertEq(ledger.market(), "sunny-street", "market");
        VM.assertEq(ledger.marketHash(), keccak256("sunny-street"), "market hash");
        VM.assertEq(ledger.intervalS(), INTERVAL_S, "interval");
        VM.assertEq(ledger.genesis(), GENESIS, "genesis");
        VM.assertEq(ledger.priceMin(), PRICE_MIN, "lowest price");
        VM.assertEq(ledger.priceMax(), PRICE_MAX, "highest price");
        VM.assertEq(ledger.meteredMaxWh(), METERED_MAX_WH, "cap");
    }

    function testDemoCurrencyIsMintedByItsDeployer() external {
        VM.assertEq(uint256(currency.decimals()), 6, "decimals");
        VM.assertEq(currency.minter(), address(this), "minter");
        VM.expectRevert(abi.encodeWithSelector(DemoCurrency.MinterOnly.selector, alice));
        VM.prank(alice);
        currency.mint(alice, 1);
    }

    function testConfigurationIsChecked() external {
        _refusedConfiguration("market", "", 900, GENESIS, address(currency), 0, 1, 1);
        _refusedConfiguration("intervalS", "m", 0, GENESIS, address(currency), 0, 1, 1);
        _refusedConfiguration("intervalS", "m", 3601, GENESIS, address(currency), 0, 1, 1);
        _refusedConfiguration("genesis", "m", 900, GENESIS + 1, address(currency), 0, 1, 1);
        _refusedConfiguration("currency", "m", 900, GENESIS, alice, 0, 1, 1);
        _refusedConfiguration("priceMin", "m", 900, GENESIS, address(currency), 2, 1, 1);
        _refusedConfiguration("priceMin", "m", 900, GENESIS, address(currency), -1e12 - 1, 1, 1);
        _refusedConfiguration("priceMax", "m", 900, GENESIS, address(currency), 0, 1e12 + 1, 1);
        _refusedConfiguration("meteredMaxWh", "m", 900, GENESIS, address(currency), 0, 1, 0);
        _refusedConfiguration("meteredMaxWh", "m", 900, GENESIS, address(currency), 0, 1, 2 ** 48);
    }

    function _refusedConfiguration(
        string memory field,
        string memory market,
        uint256 intervalS,
        uint256 genesis,
        address money,
        int256 priceMin,
        int256 priceMax,
        uint256 meteredMaxWh
    ) private {
        VM.expectRevert(abi.encodeWithSelector(IEnergyLedger.ConfigurationInvalid.selector, field));
        new EnergyLedger(
            address(authority), market, intervalS, genesis, money, priceMin, priceMax, meteredMaxWh
        );
    }

    function _give(address account, uint256 moneyMicro) private {
        currency.mint(account, moneyMicro);
        VM.prank(account);
        currency.approve(address(ledger), moneyMicro);
    }
}
