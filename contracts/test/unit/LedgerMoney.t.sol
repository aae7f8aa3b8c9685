// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {EnergyLedger} from "../../src/EnergyLedger.sol";
import {DemoCurrency} from "../../src/dev/DemoCurrency.sol";
import {IEnergyLedger} from "../../src/interfaces/IEnergyLedger.sol";
import {Batches, TestOrder} from "../base/Batches.sol";
import {LedgerTest} from "../base/LedgerTest.sol";
import {AuthorizedToken} from "../base/Tokens.sol";
import {VM} from "../base/Vm.sol";

/// @title LedgerMoneyTest: the ways in, the pause, the fees, and who may do what
contract LedgerMoneyTest is LedgerTest {
    /* DEPOSITS */

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
        VM.assertEq(ledger.depositFor(bob, 5e6), 5e6, "credited");
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
        fund(alice, type(uint64).max);
        currency.mint(address(this), uint256(type(uint64).max) + 1);
        currency.approve(address(ledger), type(uint256).max);
        bytes memory why = abi.encodeWithSelector(IEnergyLedger.AccountOverflow.selector, alice);
        VM.expectRevert(why);
        ledger.depositFor(alice, 1);
        VM.expectRevert(abi.encodeWithSelector(IEnergyLedger.AccountOverflow.selector, bob));
        ledger.depositFor(bob, uint256(type(uint64).max) + 1);
    }

    function testDepositWithPermit() external {
        currency.mint(alice, 5e6);
        (uint8 v, bytes32 r, bytes32 s) = _permit(5e6);
        VM.expectEmit(address(ledger));
        emit IEnergyLedger.Deposited(alice, alice, 5e6);
        VM.prank(alice);
        VM.assertEq(ledger.depositWithPermit(5e6, block.timestamp, v, r, s), 5e6, "credited");
        VM.assertEq(moneyOf(alice), 5e6, "without an approval");
    }

    function testDepositWithPermitIsTheSignersOwn() external {
        currency.mint(alice, 5e6);
        (uint8 v, bytes32 r, bytes32 s) = _permit(5e6);
        VM.prank(bob);
        VM.expectPartialRevert(
            bytes4(keccak256("ERC20InsufficientAllowance(address,uint256,uint256)"))
        );
        ledger.depositWithPermit(5e6, block.timestamp, v, r, s);
        VM.assertEq(currency.balanceOf(alice), 5e6, "bob cannot bring it");
    }

    function testDepositWithAuthorization() external {
        AuthorizedToken money = _authorizedMarket();
        bytes32 digest = _authorization(money, address(ledger), 3e6);
        (uint8 v, bytes32 r, bytes32 s) = VM.sign(ALICE, digest);
        VM.expectEmit(address(ledger));
        emit IEnergyLedger.Deposited(alice, alice, 3e6);
        VM.prank(bob); // anybody brings it: alice needs no gas
        uint256 creditedMicro =
            ledger.depositWithAuthorization(alice, 3e6, 0, block.timestamp + 1, "once", v, r, s);
        VM.assertEq(creditedMicro, 3e6, "credited");
        VM.assertEq(moneyOf(alice), 3e6, "to whom it belongs");
        VM.assertEq(moneyOf(bob), 0, "not to its bringer");
    }

    /* THE PAUSE */

    function testPauseStopsEveryDeposit() external {
        AuthorizedToken money = _authorizedMarket();
        bytes32 digest = _authorization(money, address(ledger), 3e6);
        (uint8 v, bytes32 r, bytes32 s) = VM.sign(ALICE, digest);
        bytes4[] memory selectors = new bytes4[](1);
        selectors[0] = EnergyLedger.setPaused.selector;
        authority.setTargetFunctionRole(address(ledger), selectors, 4);
        pause(true);
        VM.startPrank(alice);
        money.approve(address(ledger), 3e6);
        VM.expectRevert(IEnergyLedger.TradingPaused.selector);
        ledger.deposit(3e6);
        VM.expectRevert(IEnergyLedger.TradingPaused.selector);
        ledger.depositFor(bob, 3e6);
        VM.expectRevert(IEnergyLedger.TradingPaused.selector);
        ledger.depositWithPermit(3e6, block.timestamp, 27, 0, 0);
        VM.expectRevert(IEnergyLedger.TradingPaused.selector);
        ledger.depositWithAuthorization(alice, 3e6, 0, block.timestamp + 1, "once", v, r, s);
        VM.stopPrank();
        pause(false);
        VM.prank(alice);
        ledger.deposit(3e6);
    }

    function testOnlyTheGuardianPauses() external {
        VM.expectRevert(abi.encodeWithSignature("AccessManagedUnauthorized(address)", operator));
        VM.prank(operator);
        ledger.setPaused(true);
        VM.expectEmit(address(ledger));
        emit IEnergyLedger.PausedSet(true);
        pause(true);
        VM.assertTrue(ledger.paused(), "paused");
        VM.expectEmit(address(ledger));
        emit IEnergyLedger.PausedSet(false);
        pause(false);
        VM.assertFalse(ledger.paused(), "resumed");
    }

    /* FEES */

    function testFeesAreCollectedToTheirAccount() external {
        fund(bob);
        TestOrder[] memory orders = trade(1000);
        orders[1].limit += 1000;
        orders[1].value += 1000;
        settle(START, orders);
        VM.expectEmit(address(ledger));
        emit IEnergyLedger.FeesCollected(treasury, 1000);
        VM.prank(bob); // anybody may
        ledger.collectFees();
        VM.assertEq(moneyOf(treasury), 1000, "booked");
        VM.assertEq(ledger.feesMicro(), 0, "the pot is empty");
        VM.expectRevert(IEnergyLedger.AmountZero.selector);
        ledger.collectFees();
        leave(ledger, treasury, 1000);
        VM.assertEq(currency.balanceOf(treasury), 1000, "an account like any other");
    }

    /* WHO MAY DO WHAT */

    function testTheAdminNamesTheSettler() external {
        VM.prank(operator);
        VM.expectRevert(abi.encodeWithSignature("AccessManagedUnauthorized(address)", operator));
        ledger.setSettler(bob);
        VM.expectEmit(address(ledger));
        emit IEnergyLedger.SettlerSet(bob);
        ledger.setSettler(bob);
        VM.assertEq(ledger.settler(), bob, "named");
        fund(bob);
        bytes memory rows = Batches.pack(ledger, START, trade(1));
        refusedRows(rows, abi.encodeWithSelector(IEnergyLedger.SettlerOnly.selector, operator));
        VM.prank(bob);
        ledger.settleBatch(START, 0, 0, rows);
    }

    function testTheAdminNamesCompliance() external {
        VM.prank(operator);
        VM.expectRevert(abi.encodeWithSignature("AccessManagedUnauthorized(address)", operator));
        ledger.setCompliance(address(this), true);
        VM.expectRevert(abi.encodeWithSelector(IEnergyLedger.ComplianceInvalid.selector, alice));
        ledger.setCompliance(alice, false);
        VM.expectRevert(
            abi.encodeWithSelector(IEnergyLedger.ComplianceInvalid.selector, address(0))
        );
        ledger.setCompliance(address(0), true);
        VM.expectEmit(address(ledger));
        emit IEnergyLedger.ComplianceSet(address(this), true);
        ledger.setCompliance(address(this), true);
        VM.assertEq(ledger.compliance(), address(this), "named");
        VM.assertTrue(ledger.batchRules(), "with batch rules");
        ledger.setCompliance(address(0), false);
        VM.assertEq(ledger.compliance(), address(0), "nobody");
        VM.assertFalse(ledger.batchRules(), "no rules");
    }

    function testOnlyComplianceFlagsAccounts() external {
        fund(alice);
        ledger.setCompliance(address(this), false);
        VM.prank(operator);
        VM.expectRevert(abi.encodeWithSelector(IEnergyLedger.ComplianceOnly.selector, operator));
        ledger.setAccountFlags(alice, 1);
        settleSomething();
        VM.expectEmit(address(ledger));
        emit IEnergyLedger.AccountFlagsSet(alice, 0xff);
        ledger.setAccountFlags(alice, 0xff);
        (uint256 energyWh, uint256 moneyMicro, uint256 latest, uint256 used, uint256 flags) =
            ledger.accountOf(alice);
        VM.assertEq(flags, 0xff, "all");
        VM.assertEq(energyWh, 7, "energy stays");
        VM.assertEq(moneyMicro, PURSE_MICRO + 2000, "money stays");
        VM.assertEq(latest << 96 | used, 10 << 96 | 1, "the window stays");
        ledger.setAccountFlags(alice, 0);
        (,,,, flags) = ledger.accountOf(alice);
        VM.assertEq(flags, 0, "none");
    }

    function testEnergyTokenIsNamedOnce() external {
        VM.expectRevert(
            abi.encodeWithSelector(IEnergyLedger.EnergyTokenInvalid.selector, address(currency))
        );
        ledger.setEnergyToken(address(currency));
        EnergyLedger other = newLedger();
        VM.expectRevert(abi.encodeWithSelector(IEnergyLedger.EnergyTokenInvalid.selector, alice));
        other.setEnergyToken(alice);
        VM.expectRevert(abi.encodeWithSignature("AccessManagedUnauthorized(address)", alice));
        VM.prank(alice);
        other.setEnergyToken(address(token));
        VM.expectEmit(address(other));
        emit IEnergyLedger.EnergyTokenSet(address(token));
        other.setEnergyToken(address(token));
        VM.assertEq(other.energyToken(), address(token), "named");
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

    function testTheTokensWays() external {
        VM.startPrank(address(token));
        ledger.mintEnergy(alice, 100);
        ledger.moveEnergy(alice, bob, 30);
        ledger.moveEnergy(alice, alice, 70);
        ledger.burnEnergy(bob, 10);
        VM.assertEq(energyOf(alice), 70, "minted, moved");
        VM.assertEq(energyOf(bob), 20, "got, burned");
        VM.assertEq(ledger.energyWhTotal(), 90, "the sum");
        VM.expectRevert(
            abi.encodeWithSelector(IEnergyLedger.AccountEnergyInsufficient.selector, bob, 20, 21)
        );
        ledger.moveEnergy(bob, alice, 21);
        VM.expectRevert(
            abi.encodeWithSelector(IEnergyLedger.AccountEnergyInsufficient.selector, bob, 20, 21)
        );
        ledger.burnEnergy(bob, 21);
        VM.expectRevert(abi.encodeWithSelector(IEnergyLedger.AccountOverflow.selector, bob));
        ledger.mintEnergy(bob, uint256(type(uint64).max) + 1);
        VM.expectPartialRevert(bytes4(keccak256("SafeCastOverflowedUintDowncast(uint8,uint256)")));
        ledger.mintEnergy(bob, uint256(type(uint40).max));
    }

    /// @dev Amounts that would count as negative ones.
    function testAmountsBeyondAnyFieldAreRefused() external {
        VM.startPrank(address(token));
        ledger.mintEnergy(alice, 100);
        bytes memory why = abi.encodeWithSelector(IEnergyLedger.AccountOverflow.selector, alice);
        VM.expectRevert(why);
        ledger.moveEnergy(alice, bob, type(uint256).max);
        VM.expectRevert(why);
        ledger.burnEnergy(alice, type(uint256).max);
        VM.expectRevert(why);
        ledger.mintEnergy(alice, type(uint256).max);
        VM.stopPrank();
        _give(alice, type(uint256).max);
        VM.prank(alice);
        VM.expectRevert(why);
        ledger.deposit(type(uint256).max);
        refusedRelay(operator, ALICE, wanted(alice, type(uint256).max), why);
    }

    /* WHAT IT WAS MADE WITH */

    function testViews() external view {
        VM.assertEq(ledger.currency(), address(currency), "currency");
        VM.assertEq(ledger.energyToken(), address(token), "token");
        VM.assertEq(ledger.marketHash(), keccak256("sunny-street"), "market hash");
        VM.assertEq(ledger.intervalS(), INTERVAL_S, "interval");
        VM.assertEq(ledger.genesis(), GENESIS, "genesis");
        VM.assertEq(ledger.settler(), operator, "settler");
        VM.assertEq(ledger.compliance(), address(0), "no compliance");
        VM.assertFalse(ledger.batchRules(), "no rules");
        bytes32 made = keccak256(abi.encode(termsOf(address(currency))));
        VM.assertEq(keccak256(abi.encode(ledger.terms())), made, "terms");
    }

    function testDemoCurrencyIsMintedByItsDeployer() external {
        VM.assertEq(uint256(currency.decimals()), 6, "decimals");
        VM.assertEq(currency.minter(), address(this), "minter");
        VM.expectRevert(abi.encodeWithSelector(DemoCurrency.MinterOnly.selector, alice));
        VM.prank(alice);
        currency.mint(alice, 1);
    }

    function testConfigurationOfMarketAndTime() external {
        IEnergyLedger.Terms memory terms = termsOf(address(currency));
        terms.market = "";
        _refusedTerms("market", terms);
        terms = termsOf(address(currency));
        terms.intervalS = 0;
        _refusedTerms("intervalS", terms);
        terms.intervalS = 3601;
        _refusedTerms("intervalS", terms);
        terms = termsOf(address(currency));
        terms.genesis += 1;
        _refusedTerms("genesis", terms);
        _refusedTerms("currency", termsOf(alice));
        terms = termsOf(address(currency));
        terms.exitDelayS = 7 days + 1;
        _refusedTerms("exitDelayS", terms);
        terms = termsOf(address(currency));
        terms.settleWithinS = uint32(INTERVAL_S) - 1;
        _refusedTerms("settleWithinS", terms);
    }

    function testConfigurationOfPricesAndCaps() external {
        IEnergyLedger.Terms memory terms = termsOf(address(currency));
        terms.priceMin = PRICE_MAX + 1;
        _refusedTerms("priceMin", terms);
        terms.priceMin = -1e12 - 1;
        _refusedTerms("priceMin", terms);
        terms = termsOf(address(currency));
        terms.priceMax = 1e12 + 1;
        _refusedTerms("priceMax", terms);
        terms = termsOf(address(currency));
        terms.shortfallPriceMax = PRICE_MIN - 1;
        _refusedTerms("shortfallPriceMax", terms);
        terms.shortfallPriceMax = PRICE_MAX + 1;
        _refusedTerms("shortfallPriceMax", terms);
        terms = termsOf(address(currency));
        terms.underUsePriceMin = PRICE_MIN - 1;
        _refusedTerms("underUsePriceMin", terms);
        terms.underUsePriceMin = PRICE_MAX + 1;
        _refusedTerms("underUsePriceMin", terms);
        terms = termsOf(address(currency));
        terms.meteredMaxWh = 0;
        _refusedTerms("meteredMaxWh", terms);
        terms = termsOf(address(currency));
        terms.feeMaxMicroPerKwh = 1e12 + 1;
        _refusedTerms("feeMaxMicroPerKwh", terms);
        terms = termsOf(address(currency));
        terms.feeAccount = address(0);
        _refusedTerms("feeAccount", terms);
    }

    function testConfigurationsAtTheEdges() external {
        IEnergyLedger.Terms memory terms = termsOf(address(currency));
        terms.intervalS = 3600;
        (terms.priceMin, terms.priceMax) = (-1e12, 1e12);
        (terms.shortfallPriceMax, terms.underUsePriceMin) = (1e12, -1e12);
        terms.feeMaxMicroPerKwh = 1e12;
        terms.exitDelayS = 7 days;
        terms.settleWithinS = 3600;
        terms.meteredMaxWh = 1;
        EnergyLedger made = newLedger(terms);
        VM.assertEq(keccak256(abi.encode(made.terms())), keccak256(abi.encode(terms)), "as wanted");
        (terms.priceMin, terms.priceMax) = (0, 0);
        (terms.shortfallPriceMax, terms.underUsePriceMin) = (0, 0);
        VM.assertTrue(address(newLedger(terms)) != address(0), "one price");
    }

    /* HELP */

    /// @dev Alice sells 10 Wh to Bob and keeps 7.
    function settleSomething() private {
        fund(bob);
        TestOrder[] memory orders = trade(10);
        orders[0].meteredWh = 17;
        settle(START, orders);
    }

    function _refusedTerms(string memory field, IEnergyLedger.Terms memory terms) private {
        VM.expectRevert(abi.encodeWithSelector(IEnergyLedger.ConfigurationInvalid.selector, field));
        new EnergyLedger(address(authority), terms);
    }

    function _give(address account, uint256 moneyMicro) private {
        currency.mint(account, moneyMicro);
        VM.prank(account);
        currency.approve(address(ledger), moneyMicro);
    }

    /// @dev Alice's permit for the ledger, good in this second.
    function _permit(uint256 moneyMicro) private view returns (uint8, bytes32, bytes32) {
        bytes32 typeHash = keccak256(
            "Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)"
        );
        bytes32 structHash =
            keccak256(abi.encode(typeHash, alice, address(ledger), moneyMicro, 0, block.timestamp));
        return VM.sign(
            ALICE, keccak256(abi.encodePacked(hex"1901", currency.DOMAIN_SEPARATOR(), structHash))
        );
    }

    /// @dev A market whose currency knows ERC-3009, as the euro stablecoins do.
    function _authorizedMarket() private returns (AuthorizedToken money) {
        money = new AuthorizedToken();
        money.mint(alice, 5e6);
        ledger = newLedger(address(money));
    }

    function _authorization(AuthorizedToken money, address to, uint256 moneyMicro)
        private
        view
        returns (bytes32)
    {
        return money.receiveDigest(alice, to, moneyMicro, 0, block.timestamp + 1, "once");
    }
}
