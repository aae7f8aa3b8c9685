// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {IAccessManaged} from "@openzeppelin/contracts/access/manager/IAccessManaged.sol";

import {Compliance} from "../../src/Compliance.sol";
import {IComplianceRules} from "../../src/interfaces/IComplianceRules.sol";
import {IEnergyLedger} from "../../src/interfaces/IEnergyLedger.sol";
import {Batches, TestOrder} from "../base/Batches.sol";
import {Identities} from "../base/Identities.sol";
import {Regulated} from "../base/Regulated.sol";
import {VM} from "../base/Vm.sol";

/// @title ComplianceTest: each rule to its boundary, in batches, in flags and in transfers
contract ComplianceTest is Regulated {
    uint64 private constant OVER = START + INTERVAL_S;
    uint64 private constant SECOND = START + INTERVAL_S;
    uint64 private constant THIRD = START + 2 * INTERVAL_S;

    /* NO RULES */

    function testWithoutRulesEverythingPasses() external {
        settle(START, trade(100));
        VM.assertTrue(compliance.canSend(alice) && compliance.canReceive(alice), "free");
        VM.assertEq(compliance.flagsOf(alice), 0, "no flags");
        VM.assertEq(compliance.saleCapOf(alice), type(uint48).max, "no cap");
    }

    function testWithoutBatchRulesNobodyIsAsked() external {
        ledger.setCompliance(address(compliance), false);
        enact(true, true, 1, 0);
        settle(START, trade(100));
        VM.assertEq(compliance.salesOf(alice, 2027), 0, "not told");
    }

    /* ALLOW LIST */

    function testAllowListBindsTheSeller() external {
        enact(true, false, 0, 0);
        list(bob);
        refused(START, trade(1), _error(IComplianceRules.AccountNotListed.selector, alice));
        list(alice);
        settle(START, trade(1));
    }

    function testAllowListBindsTheBuyer() external {
        enact(true, false, 0, 0);
        list(alice);
        refused(START, trade(1), _error(IComplianceRules.AccountNotListed.selector, bob));
        list(bob);
        settle(START, trade(1));
    }

    function testAllowListBindsTransfers() external {
        enact(true, false, 0, 0);
        VM.assertFalse(compliance.canSend(alice), "nobody listed");
        VM.assertFalse(compliance.canReceive(alice), "nobody listed");
        list(alice);
        VM.assertTrue(compliance.canSend(alice) && compliance.canReceive(alice), "listed");
        VM.assertTrue(compliance.memberOf(alice).listed, "told");
        VM.assertFalse(compliance.canTransfer(alice, bob, 0), "but not the recipient");
        VM.assertFalse(compliance.canTransfer(bob, alice, 0), "nor the sender");
    }

    function testTakenOffTheListIsAFlag() external {
        enact(true, false, 0, 0);
        list(alice);
        VM.assertEq(ledgerFlags(alice), 0, "none");
        VM.prank(complianceOfficer);
        compliance.setListed(alice, false);
        VM.assertEq(ledgerFlags(alice), 3, "may not send, may not receive");
    }

    /* LICENCES */

    function testLicenceCoversTheWholeDelivery() external {
        enact(false, true, 0, 1 days);
        license(alice, OVER - 1);
        refused(
            START,
            trade(1),
            abi.encodeWithSelector(
                IComplianceRules.AccountLicenceOver.selector, alice, OVER - 1, OVER
            )
        );
        license(alice, OVER);
        settle(START, trade(1));
    }

    function testBuyersNeedNoLicence() external {
        enact(false, true, 0, 0);
        VM.assertFalse(compliance.canSend(bob), "none to send");
        VM.assertTrue(compliance.canReceive(bob), "none needed");
        license(alice, OVER + 1 days);
        settle(START, trade(1));
    }

    function testSellerWithNothingDeliveredNeedsALicenceToo() external {
        enact(false, true, 0, 0);
        TestOrder memory short = Batches.sell(ALICE, 10, PRICE, PRICE);
        (short.executedWh, short.shortWh, short.meteredWh, short.value) = (0, 10, 0, 0);
        TestOrder memory other = Batches.buy(BOB, 10, PRICE, PRICE);
        (other.executedWh, other.shortWh, other.meteredWh, other.value) = (0, 10, 0, 0);
        refused(
            START,
            pair(short, other),
            abi.encodeWithSelector(IComplianceRules.AccountLicenceOver.selector, alice, 0, OVER)
        );
    }

    function testTransfersEndWithTheLicence() external {
        enact(false, true, 0, 1 days);
        license(alice, OVER + 100);
        VM.warp(OVER + 99);
        VM.assertTrue(compliance.canSend(alice), "its last second");
        VM.warp(OVER + 100);
        VM.assertFalse(compliance.canSend(alice), "over, whatever the grace");
        VM.warp(OVER + 101);
        VM.assertFalse(compliance.canSend(alice), "over");
    }

    function testOverLicenceBecomesAFlagAfterTheGrace() external {
        enact(false, true, 0, 1 hours);
        license(alice, OVER + 100);
        VM.warp(OVER + 100 + 1 hours - 1);
        compliance.refresh(alice);
        VM.assertEq(ledgerFlags(alice), 0, "its last deliveries can still be settled");
        settle(START, trade(1));
        VM.warp(OVER + 100 + 1 hours);
        VM.prank(carol);
        compliance.refresh(alice);
        VM.assertEq(ledgerFlags(alice), 1, "now it may not send");
        TestOrder[] memory orders = trade(1);
        refused(
            SECOND, orders, abi.encodeWithSelector(IEnergyLedger.AccountBlocked.selector, alice, 1)
        );
    }

    function testRenewedLicenceLiftsTheFlag() external {
        enact(false, true, 0, 0);
        compliance.refresh(alice);
        VM.assertEq(ledgerFlags(alice), 1, "no licence");
        license(alice, OVER + 1 days);
        VM.assertEq(ledgerFlags(alice), 0, "licensed");
    }

    function testGraceLongerThanTime() external {
        enact(false, true, 0, type(uint32).max);
        VM.assertEq(compliance.flagsOf(alice), 0, "no flag ever");
        VM.assertFalse(compliance.canSend(alice), "and no licence");
    }

    /* YEARLY CAP */

    function testCapToTheWh() external {
        enact(false, false, 100, 0);
        settle(START, trade(60));
        refused(SECOND, trade(41), _exceeded(alice, 101, 100));
        settle(SECOND, trade(40));
        VM.assertEq(compliance.salesOf(alice, 2027), 100, "booked");
        refused(THIRD, trade(1), _exceeded(alice, 101, 100));
    }

    function testCapIsWhatIsSoldNotWhatIsSigned() external {
        enact(false, false, 100, 0);
        TestOrder memory sale = Batches.sell(ALICE, 100, PRICE, PRICE);
        sale.signedWh = 500;
        sale.meteredWh = 300;
        settle(START, pair(sale, Batches.buy(BOB, 100, PRICE, PRICE)));
        VM.assertEq(compliance.salesOf(alice, 2027), 100, "the executed part");
    }

    function testSalesOfOneBatchAddUp() external {
        enact(false, false, 100, 0);
        TestOrder[] memory orders = new TestOrder[](3);
        orders[0] = Batches.sell(ALICE, 60, PRICE, PRICE);
        orders[1] = Batches.sell(ALICE, 41, PRICE, PRICE);
        orders[1].terms = "the second";
        orders[2] = Batches.buy(BOB, 101, PRICE, PRICE);
        refused(START, orders, _exceeded(alice, 101, 100));
    }

    function testPurchasesCountForNobody() external {
        enact(false, false, 100, 0);
        cap(alice, 1000);
        settle(START, trade(500));
        VM.assertEq(compliance.salesOf(bob, 2027), 0, "bought");
        VM.assertEq(compliance.salesOf(alice, 2027), 500, "sold");
    }

    function testOwnCapGoesBeforeTheMarkets() external {
        enact(false, false, 100, 0);
        cap(alice, 50);
        VM.assertEq(compliance.saleCapOf(alice), 50, "its own");
        refused(START, trade(51), _exceeded(alice, 51, 50));
        cap(alice, type(uint48).max);
        settle(START, trade(101));
        cap(alice, 0);
        VM.assertEq(compliance.saleCapOf(alice), 100, "the market's");
        refused(SECOND, trade(1), _exceeded(alice, 102, 100));
    }

    function testSalesAreBookedBeforeThereIsACap() external {
        settle(START, trade(60));
        enact(false, false, 100, 0);
        refused(SECOND, trade(41), _exceeded(alice, 101, 100));
    }

    function testNewYearBeginsAtZero() external {
        enact(false, false, 100, 0);
        settleAt(NEW_YEAR_2028 - INTERVAL_S, trade(100));
        settleAt(NEW_YEAR_2028, trade(100));
        VM.assertEq(compliance.salesOf(alice, 2027), 100, "the old year");
        VM.assertEq(compliance.salesOf(alice, 2028), 100, "the new year");
        refused(NEW_YEAR_2028 + INTERVAL_S, trade(1), _exceeded(alice, 101, 100));
    }

    function testOldYearCanBeSettledAfterTheNew() external {
        enact(false, false, 100, 0);
        settleAt(NEW_YEAR_2028 - 2 * INTERVAL_S, trade(70));
        settleAt(NEW_YEAR_2028, trade(20));
        refused(NEW_YEAR_2028 - INTERVAL_S, trade(31), _exceeded(alice, 101, 100));
        settleAt(NEW_YEAR_2028 - INTERVAL_S, trade(30));
        VM.assertEq(compliance.salesOf(alice, 2027), 100, "counted where it belongs");
        VM.assertEq(compliance.salesOf(alice, 2028), 20, "and only there");
    }

    function testYearWithoutSalesIsNotForgotten() external {
        book(START, alice, 70);
        book(NEW_YEAR_2028 + 366 days, alice, 5); // 2028 is a leap year
        VM.assertEq(compliance.salesOf(alice, 2029), 5, "the latest");
        VM.assertEq(compliance.salesOf(alice, 2028), 0, "nothing was sold");
        VM.assertEq(compliance.salesOf(alice, 2027), 0, "too long ago to be known");
    }

    function testYearBeforeTheLastIsClosed() external {
        book(NEW_YEAR_2028 + 366 days, alice, 5);
        TestOrder memory order = Batches.sell(ALICE, 1, PRICE, PRICE);
        bytes memory row = Batches.encode(alice, order, 0, 0);
        VM.prank(address(ledger));
        VM.expectRevert(
            abi.encodeWithSelector(IComplianceRules.AccountYearPassed.selector, alice, 2027, 2029)
        );
        compliance.afterBatch(NEW_YEAR_2028 - INTERVAL_S, row);
    }

    /* BLOCKS */

    function testBlocksAreFlags() external {
        block_(alice, true, false);
        VM.assertEq(ledgerFlags(alice), 1, "no sending");
        VM.assertFalse(compliance.canSend(alice), "no sending");
        VM.assertTrue(compliance.canReceive(alice), "but receiving");
        refused(
            START, trade(1), abi.encodeWithSelector(IEnergyLedger.AccountBlocked.selector, alice, 1)
        );
        block_(alice, false, true);
        VM.assertEq(ledgerFlags(alice), 2, "no receiving");
        VM.assertTrue(compliance.canSend(alice), "but sending");
        VM.assertFalse(compliance.canReceive(alice), "no receiving");
        block_(alice, true, true);
        VM.assertEq(ledgerFlags(alice), 3, "neither");
        block_(alice, false, false);
        VM.assertEq(ledgerFlags(alice), 0, "free");
        settle(START, trade(1));
    }

    function testUnchangedFlagsAreNotWritten() external {
        block_(alice, true, false);
        VM.recordLogs();
        block_(alice, true, false);
        VM.assertEq(VM.getRecordedLogs().length, 1, "only the officer's act");
    }

    /// @dev A contract that is prepared before it comes into force has no flags in the ledger yet.
    function testSendBlockHoldsBeforeItIsAFlag() external {
        Compliance prepared = newCompliance();
        VM.prank(complianceOfficer);
        prepared.setBlocked(alice, true, false);
        VM.assertEq(ledgerFlags(alice), 0, "not in force");
        ledger.setCompliance(address(prepared), true);
        refused(START, trade(1), _error(IComplianceRules.AccountSendBlocked.selector, alice));
        prepared.refresh(alice);
        VM.assertEq(ledgerFlags(alice), 1, "in force");
    }

    function testReceiveBlockHoldsBeforeItIsAFlag() external {
        Compliance prepared = newCompliance();
        VM.prank(complianceOfficer);
        prepared.setBlocked(bob, false, true);
        ledger.setCompliance(address(prepared), true);
        refused(START, trade(1), _error(IComplianceRules.AccountReceiveBlocked.selector, bob));
    }

    /* IDENTITIES */

    function testOnlyVerifiedAccountsTrade() external {
        Identities identities = _identities();
        identities.verify(bob, true);
        compliance.refresh(bob);
        refused(START, trade(1), _error(IComplianceRules.AccountNotVerified.selector, alice));
        identities.verify(alice, true);
        VM.assertTrue(compliance.canSend(alice) && compliance.canReceive(alice), "at once");
        VM.expectEmit(address(compliance));
        emit IComplianceRules.VerifiedSet(alice, true);
        compliance.refresh(alice);
        settle(START, trade(1));
    }

    function testLostIdentityIsAFlag() external {
        Identities identities = _identities();
        identities.verify(alice, true);
        compliance.refresh(alice);
        identities.verify(alice, false);
        VM.assertFalse(compliance.canSend(alice) || compliance.canReceive(alice), "at once");
        VM.prank(carol);
        compliance.refresh(alice);
        VM.assertEq(ledgerFlags(alice), 3, "neither sends nor receives");
    }

    function testAnotherRegistryStartsAnew() external {
        Identities identities = _identities();
        identities.verify(alice, true);
        identities.verify(bob, true);
        compliance.refresh(alice);
        compliance.refresh(bob);
        _identities();
        compliance.setIdentityRegistry(address(identities));
        compliance.refresh(bob);
        refused(START, trade(1), _error(IComplianceRules.AccountNotVerified.selector, alice));
        compliance.refresh(alice);
        settle(START, trade(1));
    }

    function testWithoutRegistryNobodyIsAsked() external {
        _identities();
        compliance.refresh(alice);
        VM.assertEq(ledgerFlags(alice), 3, "unknown");
        compliance.setIdentityRegistry(address(0));
        compliance.refresh(alice);
        VM.assertEq(ledgerFlags(alice), 0, "nobody to ask");
        settle(START, trade(1));
    }

    function testRegistryNeedsCode() external {
        VM.expectRevert(
            abi.encodeWithSelector(IComplianceRules.IdentityRegistryInvalid.selector, carol)
        );
        compliance.setIdentityRegistry(carol);
    }

    /* EXEMPTIONS */

    function testExemptAccountsNeedNothing() external {
        enact(true, true, 0, 0);
        _identities();
        exempt(alice);
        exempt(bob);
        VM.assertTrue(compliance.canSend(alice) && compliance.canReceive(alice), "without anything");
        VM.assertEq(compliance.flagsOf(alice), 0, "no flags");
        compliance.refresh(alice);
        settle(START, trade(1));
    }

    function testExemptAccountsCanBeBlocked() external {
        exempt(alice);
        block_(alice, true, true);
        VM.assertFalse(compliance.canSend(alice) || compliance.canReceive(alice), "blocked");
        VM.assertEq(ledgerFlags(alice), 3, "blocked");
    }

    /* FREEZE */

    function testFrozenEnergyStays() external {
        _giveEnergy(alice, 10);
        VM.assertTrue(compliance.canTransfer(alice, bob, 10 * UNITS_PER_WH), "all of it");
        VM.assertTrue(compliance.canTransfer(alice, bob, 10 * UNITS_PER_WH + 1), "no rule forbids");
        freeze(alice, 4 * UNITS_PER_WH);
        VM.assertEq(compliance.getFrozenTokens(alice), 4 * UNITS_PER_WH, "frozen");
        VM.assertTrue(compliance.canTransfer(alice, bob, 6 * UNITS_PER_WH), "the rest");
        VM.assertFalse(compliance.canTransfer(alice, bob, 6 * UNITS_PER_WH + 1), "no more");
        freeze(alice, 0);
        VM.assertTrue(compliance.canTransfer(alice, bob, 10 * UNITS_PER_WH), "thawed");
    }

    function testMoreCanBeFrozenThanIsHeld() external {
        _giveEnergy(alice, 10);
        freeze(alice, type(uint256).max);
        VM.assertFalse(compliance.canTransfer(alice, bob, 1), "nothing");
        VM.assertTrue(compliance.canTransfer(alice, bob, 0), "nothing is nothing");
        VM.assertTrue(compliance.canTransfer(bob, alice, 0), "others are free");
    }

    function testFrozenEnergyDoesNotStopSales() external {
        freeze(alice, type(uint256).max);
        settle(START, trade(10));
    }

    function testTransferOfTheBlockedIsRefused() external {
        _giveEnergy(alice, 10);
        block_(alice, true, false);
        VM.assertFalse(compliance.canTransfer(alice, bob, 1), "sender");
        block_(alice, false, false);
        block_(bob, false, true);
        VM.assertFalse(compliance.canTransfer(alice, bob, 1), "recipient");
    }

    /* THROUGH THE TOKEN */

    function testTheTokenKeepsWhatIsFrozen() external {
        _giveEnergy(alice, 10);
        VM.prank(complianceOfficer);
        token.setFrozenTokens(alice, 4 * UNITS_PER_WH);
        VM.assertEq(compliance.getFrozenTokens(alice), 4 * UNITS_PER_WH, "kept here");
        VM.prank(alice);
        VM.expectRevert();
        token.transfer(bob, 7 * UNITS_PER_WH);
        VM.prank(alice);
        token.transfer(bob, 6 * UNITS_PER_WH);
        VM.assertEq(energyOf(alice), 4, "what is frozen");
        VM.prank(complianceOfficer);
        token.forcedTransfer(alice, bob, 3 * UNITS_PER_WH);
        VM.assertEq(compliance.getFrozenTokens(alice), 1 * UNITS_PER_WH, "what is left of it");
        VM.assertEq(energyOf(bob), 9, "moved");
    }

    function testTheTokenObeysTheRules() external {
        _giveEnergy(alice, 10);
        enact(true, false, 0, 0);
        list(alice);
        VM.prank(alice);
        VM.expectRevert();
        token.transfer(bob, UNITS_PER_WH);
        list(bob);
        VM.prank(alice);
        token.transfer(bob, UNITS_PER_WH);
        block_(alice, true, false);
        VM.prank(alice);
        VM.expectRevert();
        token.transfer(bob, UNITS_PER_WH);
        VM.assertEq(energyOf(bob), 1, "only what was allowed");
    }

    /* WHO MAY */

    function testOnlyTheOfficerSets() external {
        _refusedFor(carol, abi.encodeCall(compliance.setListed, (alice, true)));
        _refusedFor(carol, abi.encodeCall(compliance.setExempt, (alice, true)));
        _refusedFor(carol, abi.encodeCall(compliance.setLicence, (alice, 1)));
        _refusedFor(carol, abi.encodeCall(compliance.setSaleCap, (alice, 1)));
        _refusedFor(carol, abi.encodeCall(compliance.setBlocked, (alice, true, true)));
        IComplianceRules.Rules memory none;
        _refusedFor(carol, abi.encodeCall(compliance.setRules, (none)));
    }

    function testOnlyTheAdminNamesTheRegistry() external {
        _refusedFor(complianceOfficer, abi.encodeCall(compliance.setIdentityRegistry, (address(0))));
    }

    function testOnlyTheLedgerBooks() external {
        VM.prank(operator);
        VM.expectRevert(abi.encodeWithSelector(IComplianceRules.LedgerOnly.selector, operator));
        compliance.afterBatch(START, "");
    }

    function testOnlyTheTokenFreezes() external {
        VM.prank(complianceOfficer);
        VM.expectRevert(
            abi.encodeWithSelector(IComplianceRules.EnergyTokenOnly.selector, complianceOfficer)
        );
        compliance.setFrozenTokens(alice, 1);
    }

    /* WHAT IS TOLD */

    function testEveryActIsTold() external {
        VM.startPrank(complianceOfficer);
        _told();
        emit IComplianceRules.RulesSet(true, false, 3, 4);
        compliance.setRules(IComplianceRules.Rules(true, false, 3, 4));
        _told();
        emit IComplianceRules.ListedSet(alice, true);
        compliance.setListed(alice, true);
        _told();
        emit IComplianceRules.ExemptSet(alice, true);
        compliance.setExempt(alice, true);
        _told();
        emit IComplianceRules.LicenceSet(alice, 5);
        compliance.setLicence(alice, 5);
        _told();
        emit IComplianceRules.SaleCapSet(alice, 6);
        compliance.setSaleCap(alice, 6);
        _told();
        emit IComplianceRules.BlockedSet(alice, true, false);
        compliance.setBlocked(alice, true, false);
        VM.stopPrank();
        _told();
        emit IComplianceRules.FrozenTokensSet(alice, 7);
        freeze(alice, 7);
        _told();
        emit IComplianceRules.IdentityRegistrySet(address(0), 1);
        compliance.setIdentityRegistry(address(0));
    }

    function testWhatWasSetCanBeRead() external {
        enact(true, true, 3, 4);
        IComplianceRules.Rules memory rules = compliance.rules();
        VM.assertTrue(rules.allowList && rules.licences, "rules");
        VM.assertEq(rules.saleCapWh, 3, "cap");
        VM.assertEq(rules.licenceGraceS, 4, "grace");
        license(alice, 5);
        VM.assertEq(compliance.memberOf(alice).licenceUntil, 5, "licence");
        VM.assertEq(compliance.identityRegistry(), address(0), "nobody");
        VM.assertEq(address(compliance.ledger()), address(ledger), "its ledger");
    }

    /* HELPERS */

    function _identities() private returns (Identities identities) {
        identities = new Identities();
        compliance.setIdentityRegistry(address(identities));
    }

    function _giveEnergy(address account, uint256 energyWh) private {
        VM.prank(address(token));
        ledger.mintEnergy(account, energyWh);
    }

    function _refusedFor(address caller, bytes memory data) private {
        VM.prank(caller);
        (bool success, bytes memory answer) = address(compliance).call(data);
        VM.assertFalse(success, "refused");
        bytes memory why =
            abi.encodeWithSelector(IAccessManaged.AccessManagedUnauthorized.selector, caller);
        VM.assertEq(keccak256(answer), keccak256(why), "for want of the role");
    }

    function _told() private {
        VM.expectEmit(address(compliance));
    }

    function _exceeded(address account, uint256 soldWh, uint256 capWh)
        private
        pure
        returns (bytes memory)
    {
        return abi.encodeWithSelector(
            IComplianceRules.AccountSaleCapExceeded.selector, account, soldWh, capWh
        );
    }

    function _error(bytes4 selector, address account) private pure returns (bytes memory) {
        return abi.encodeWithSelector(selector, account);
    }
}
