// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {IEnergyLedger} from "../../src/interfaces/IEnergyLedger.sol";
import {Batches, TestOrder} from "../base/Batches.sol";
import {Consents} from "../base/Consents.sol";
import {LedgerTest} from "../base/LedgerTest.sol";
import {VM} from "../base/Vm.sol";

/// @title MandatesTest: other keys' orders, within what the account allowed them
contract MandatesTest is LedgerTest {
    uint256 private constant DELEGATE = 0xDE1E;

    address private immutable delegate = VM.addr(DELEGATE);

    function setUp() public override {
        super.setUp();
        fund(alice);
        fund(bob);
    }

    /* GIVING AND TAKING */

    function testAnAccountSetsItsMandate() external {
        IEnergyLedger.Mandate memory given = _mandate();
        VM.expectEmit(address(ledger));
        emit IEnergyLedger.MandateSet(
            alice, delegate, START, START + 1 days, 2000, 300_000, 100_000
        );
        VM.prank(alice);
        ledger.setMandate(given);
        IEnergyLedger.Mandate memory stored = ledger.mandateOf(alice, delegate);
        VM.assertEq(keccak256(abi.encode(stored)), keccak256(abi.encode(given)), "as it was given");
        VM.assertEq(ledger.mandateOf(bob, delegate).validUntil, 0, "for no other account");
    }

    function testNobodySetsAnothersMandate() external {
        VM.prank(delegate);
        VM.expectRevert(_invalid(alice, delegate));
        ledger.setMandate(_mandate());
    }

    function testASignedMandateIsBroughtByAnyone() external {
        (bytes32 r, bytes32 vs) = Consents.mandate(ALICE, ledger, _mandate());
        VM.expectEmit(address(ledger));
        emit IEnergyLedger.MandateSet(
            alice, delegate, START, START + 1 days, 2000, 300_000, 100_000
        );
        ledger.setMandateFor(_mandate(), r, vs);
        settleRows(START, _rows(_sale()));
    }

    function testASignedMandateIsTheAccountsOwn() external {
        bytes memory why = abi.encodeWithSelector(IEnergyLedger.SignatureInvalid.selector, alice);
        (bytes32 r, bytes32 vs) = Consents.mandate(DELEGATE, ledger, _mandate());
        VM.expectRevert(why);
        ledger.setMandateFor(_mandate(), r, vs);
        (r, vs) = Consents.mandate(ALICE, ledger, _mandate());
        IEnergyLedger.Mandate memory wider = _mandate();
        wider.energyPerIntervalMaxWh += 1;
        VM.expectRevert(why);
        ledger.setMandateFor(wider, r, vs);
    }

    function testAMandateIsFinal() external {
        (bytes32 r, bytes32 vs) = Consents.mandate(ALICE, ledger, _mandate());
        ledger.setMandateFor(_mandate(), r, vs);
        bytes memory why =
            abi.encodeWithSelector(IEnergyLedger.MandateExists.selector, alice, delegate);
        VM.expectRevert(why);
        ledger.setMandateFor(_mandate(), r, vs);
        VM.startPrank(alice);
        VM.expectRevert(why);
        ledger.setMandate(_mandate());
        ledger.revokeMandate(delegate);
        VM.expectRevert(why); // the old signature brings nothing back
        ledger.setMandateFor(_mandate(), r, vs);
    }

    function testEmptyMandatesAreRefused() external {
        IEnergyLedger.Mandate memory given = _mandate();
        given.validUntil = given.validFrom;
        _refusedMandate(given);
        given = _mandate();
        given.energyPerIntervalMaxWh = 0;
        _refusedMandate(given);
        given = _mandate();
        given.delegate = address(0);
        _refusedMandate(given);
        given.delegate = alice;
        _refusedMandate(given);
    }

    function testARevocationSparesDeliveriesThatHaveBegun() external {
        _give(_mandate());
        VM.warp(START + INTERVAL_S); // the second that the next delivery starts
        VM.expectEmit(address(ledger));
        emit IEnergyLedger.MandateRevoked(alice, delegate, START + INTERVAL_S + 1);
        VM.prank(alice);
        ledger.revokeMandate(delegate);
        VM.warp(START + 3 * INTERVAL_S);
        settleRows(START, _rowsAt(START, _sale()));
        settleRows(START + INTERVAL_S, _rowsAt(START + INTERVAL_S, _sale()));
        uint64 later = START + 2 * INTERVAL_S;
        _refusedAt(later, _sale());
        VM.prank(alice);
        ledger.revokeMandate(delegate);
        VM.assertEq(
            ledger.mandateOf(alice, delegate).validUntil,
            START + INTERVAL_S + 1,
            "a later revocation extends nothing"
        );
    }

    function testOnlyWhatExistsIsRevoked() external {
        _give(_mandate());
        bytes memory why =
            abi.encodeWithSelector(IEnergyLedger.MandateUnknown.selector, bob, delegate);
        VM.prank(bob);
        VM.expectRevert(why);
        ledger.revokeMandate(delegate);
        settleRows(START, _rows(_sale()));
    }

    /* TRADING */

    function testADelegateTrades() external {
        _give(_mandate());
        settleRows(START, _rows(_sale()));
        VM.assertEq(moneyOf(alice), PURSE_MICRO + 200_000, "the account is paid");
        VM.assertEq(moneyOf(delegate), 0, "not the key");
        VM.assertEq(latestOf(alice), 10, "the account's interval is used");
        VM.assertEq(latestOf(delegate), 0, "not the key's");
    }

    function testADelegateBuys() external {
        _give(_mandate());
        TestOrder memory purchase = Batches.buy(ALICE, 1000, PRICE, PRICE);
        settleRows(
            START,
            Batches.join(
                Batches.rowBy(DELEGATE, ledger, START, alice, purchase),
                Batches.row(ledger, START, Batches.sell(BOB, 1000, PRICE, PRICE))
            )
        );
        VM.assertEq(moneyOf(alice), PURSE_MICRO - 200_000, "the account pays");
    }

    function testAContractTradesThroughAKey() external {
        // A wallet that can sign nothing, and whose code no settlement calls: it has no such function.
        IEnergyLedger.Mandate memory given = _mandate();
        given.account = address(this);
        ledger.setMandate(given);
        TestOrder memory sale = _sale();
        settleRows(
            START,
            Batches.join(
                Batches.rowBy(DELEGATE, ledger, START, address(this), sale),
                Batches.row(ledger, START, Batches.buy(BOB, 1000, PRICE, PRICE))
            )
        );
        VM.assertEq(moneyOf(address(this)), 200_000, "paid");
    }

    function testWithoutAMandateASignatureIsWorthNothing() external {
        bytes memory rows = _rows(_sale());
        refusedRows(rows, IEnergyLedger.RowSignatureInvalid.selector);
        IEnergyLedger.Mandate memory given = _mandate();
        given.account = bob;
        VM.prank(bob);
        ledger.setMandate(given);
        refusedRows(rows, IEnergyLedger.RowSignatureInvalid.selector);
    }

    function testTheMandatesTime() external {
        IEnergyLedger.Mandate memory given = _mandate();
        given.validFrom = uint40(START) + 1;
        given.validUntil = uint40(START) + 1 + uint40(INTERVAL_S);
        _give(given);
        VM.warp(START + 3 * INTERVAL_S);
        _refusedAt(START, _sale());
        settleRows(START + INTERVAL_S, _rowsAt(START + INTERVAL_S, _sale()));
        _refusedAt(START + 2 * INTERVAL_S, _sale());
    }

    function testTheMandatesTimeToTheSecond() external {
        IEnergyLedger.Mandate memory given = _mandate();
        given.validFrom = uint40(START);
        given.validUntil = uint40(START) + uint40(INTERVAL_S);
        _give(given);
        VM.warp(START + 3 * INTERVAL_S);
        _refusedAt(START - INTERVAL_S, _sale());
        _refusedAt(START + INTERVAL_S, _sale());
        settleRows(START, _rows(_sale()));
    }

    function testTheMandatesBuyLimit() external {
        _give(_mandate());
        TestOrder memory purchase = Batches.buy(ALICE, 1000, 300_001, PRICE);
        bytes memory sale = Batches.row(ledger, START, Batches.sell(BOB, 1000, PRICE, PRICE));
        bytes memory row = Batches.rowBy(DELEGATE, ledger, START, alice, purchase);
        refusedRows(Batches.join(row, sale), IEnergyLedger.MandateNotCovering.selector);
        purchase.limit = 300_000;
        row = Batches.rowBy(DELEGATE, ledger, START, alice, purchase);
        settleRows(START, Batches.join(row, sale));
    }

    function testTheMandatesSellLimit() external {
        _give(_mandate());
        TestOrder memory sale = _sale();
        sale.limit = 99_999;
        _refusedAt(START, sale);
        sale.limit = type(int64).min; // at any price
        _refusedAt(START, sale);
        sale.limit = 100_000;
        settleRows(START, _rows(sale));
    }

    function testTheMandatesEnergyCountsAllItsOrders() external {
        _give(_mandate());
        (bytes memory sales, TestOrder memory purchase) = _twoSales(1200, 801);
        refusedRows(
            Batches.join(sales, Batches.row(ledger, START, purchase)),
            IEnergyLedger.MandateNotCovering.selector
        );
        (sales, purchase) = _twoSales(1200, 800);
        settleRows(START, Batches.join(sales, Batches.row(ledger, START, purchase)));
    }

    function testTheMandatesEnergyCountsWhatWasShort() external {
        _give(_mandate());
        TestOrder memory sale = Batches.sell(ALICE, 2001, PRICE, PRICE);
        sale.executedWh = sale.meteredWh = 1000;
        sale.shortWh = 1001;
        sale.value = 200_000;
        _refusedAt(START, sale);
        sale.shortWh = 1000;
        settleRows(START, _rows(sale));
    }

    function testWhatWasSignedAndNotTradedDoesNotCount() external {
        _give(_mandate());
        TestOrder memory sale = _sale();
        sale.signedWh = 1_000_000;
        settleRows(START, _rows(sale));
    }

    function testOnesOwnOrdersDoNotCount() external {
        _give(_mandate());
        TestOrder memory own = Batches.sell(ALICE, 5000, PRICE, PRICE);
        own.terms = "own";
        TestOrder memory mandated = Batches.sell(ALICE, 2000, PRICE, PRICE);
        bytes memory sales = _ascending(
            Batches.row(ledger, START, own),
            digest(own),
            Batches.rowBy(DELEGATE, ledger, START, alice, mandated),
            digest(mandated)
        );
        TestOrder memory purchase = Batches.buy(BOB, 7000, PRICE, PRICE);
        settleRows(START, Batches.join(sales, Batches.row(ledger, START, purchase)));
        VM.assertEq(moneyOf(alice), PURSE_MICRO + 1_400_000, "both sold");
    }

    function testEachAccountsMandatedEnergyIsItsOwn() external {
        _give(_mandate());
        IEnergyLedger.Mandate memory given = _mandate();
        given.account = bob;
        VM.prank(bob);
        ledger.setMandate(given);
        fund(carol);
        bytes memory sales = Batches.join(
            Batches.rowBy(DELEGATE, ledger, START, alice, Batches.sell(ALICE, 2000, PRICE, PRICE)),
            Batches.rowBy(DELEGATE, ledger, START, bob, Batches.sell(BOB, 2000, PRICE, PRICE))
        );
        bytes memory purchase = Batches.row(ledger, START, Batches.buy(CAROL, 4000, PRICE, PRICE));
        bytes memory rows = Batches.join(purchase, sales);
        // Carol may stand between the two.
        if (carol > (alice < bob ? alice : bob) && carol < (alice < bob ? bob : alice)) {
            rows = bytes.concat(_slice(sales, 0), purchase, _slice(sales, 159));
        } else if (carol > alice && carol > bob) {
            rows = bytes.concat(sales, purchase);
        }
        settleRows(START, rows);
        VM.assertEq(moneyOf(carol), PURSE_MICRO - 800_000, "bought from both");
    }

    /* HELP */

    /// @dev For a day from `START` on: 2 kWh in an interval, bought up to 0.30, sold from 0.10 on.
    function _mandate() private view returns (IEnergyLedger.Mandate memory) {
        return IEnergyLedger.Mandate(
            alice, delegate, uint40(START), uint40(START) + 1 days, 2000, 300_000, 100_000
        );
    }

    function _give(IEnergyLedger.Mandate memory given) private {
        VM.prank(alice);
        ledger.setMandate(given);
    }

    function _sale() private pure returns (TestOrder memory) {
        return Batches.sell(ALICE, 1000, PRICE, PRICE);
    }

    function _rows(TestOrder memory sale) private view returns (bytes memory) {
        return _rowsAt(START, sale);
    }

    /// @dev Alice's sale, signed by her delegate, and Bob's own purchase of it.
    function _rowsAt(uint64 start, TestOrder memory sale) private view returns (bytes memory) {
        TestOrder memory purchase = Batches.buy(BOB, sale.executedWh, PRICE, PRICE);
        return Batches.join(
            Batches.rowBy(DELEGATE, ledger, start, alice, sale),
            Batches.row(ledger, start, purchase)
        );
    }

    function _refusedAt(uint64 start, TestOrder memory sale) private {
        bytes memory why = abi.encodeWithSelector(
            IEnergyLedger.MandateNotCovering.selector,
            alice,
            delegate,
            Batches.digestOf(ledger, start, sale)
        );
        bytes memory rows = _rowsAt(start, sale);
        VM.prank(operator);
        VM.expectRevert(why);
        ledger.settleBatch(start, 0, 0, rows);
    }

    /// @dev Two of Alice's sales by her delegate, and Bob's purchase of both.
    function _twoSales(uint48 firstWh, uint48 secondWh)
        private
        view
        returns (bytes memory sales, TestOrder memory purchase)
    {
        TestOrder memory one = Batches.sell(ALICE, firstWh, PRICE, PRICE);
        TestOrder memory two = Batches.sell(ALICE, secondWh, PRICE, PRICE);
        two.terms = "the other";
        sales = _ascending(
            Batches.rowBy(DELEGATE, ledger, START, alice, one),
            digest(one),
            Batches.rowBy(DELEGATE, ledger, START, alice, two),
            digest(two)
        );
        purchase = Batches.buy(BOB, firstWh + secondWh, PRICE + 1, PRICE);
        purchase.value = one.value + two.value;
    }

    function _ascending(bytes memory one, bytes32 oneDigest, bytes memory two, bytes32 twoDigest)
        private
        pure
        returns (bytes memory)
    {
        return oneDigest < twoDigest ? bytes.concat(one, two) : bytes.concat(two, one);
    }

    function _slice(bytes memory rows, uint256 from) private pure returns (bytes memory row) {
        row = new bytes(159);
        for (uint256 i; i < 159; ++i) {
            row[i] = rows[from + i];
        }
    }

    function _refusedMandate(IEnergyLedger.Mandate memory given) private {
        VM.prank(alice);
        VM.expectRevert(_invalid(alice, given.delegate));
        ledger.setMandate(given);
    }

    function _invalid(address account, address key) private pure returns (bytes memory) {
        return abi.encodeWithSelector(IEnergyLedger.MandateInvalid.selector, account, key);
    }
}
