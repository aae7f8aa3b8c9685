// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {IEnergyLedger} from "../../src/interfaces/IEnergyLedger.sol";
import {TestOrder} from "../base/Batches.sol";
import {Consents} from "../base/Consents.sol";
import {LedgerTest} from "../base/LedgerTest.sol";
import {VM} from "../base/Vm.sol";

/// @title CorrectionsTest: what late readings change in a settled interval, and for whom
contract CorrectionsTest is LedgerTest {
    uint8 private constant NO_SEND = 1;
    uint8 private constant NO_RECEIVE = 2;

    function setUp() public override {
        super.setUp();
        fund(alice);
        fund(bob);
        TestOrder[] memory orders = trade(1000);
        orders[0].meteredWh = 1200;
        orders[1].meteredWh = 900;
        settle(START, orders); // alice has 200 Wh, bob 100
    }

    /* WHAT IT DOES */

    /// @dev The meter had shown 50 Wh too few for Alice, who owed Bob 0.01.
    function testACorrectionBooksAndSays() external {
        IEnergyLedger.CorrectionRow[] memory rows =
            _pair(_row(alice, 50, -10_000), _row(bob, 0, 10_000));
        _of(rows, alice).mintedWh = 50;
        _sign(ALICE, START, 1, rows);
        VM.expectEmit(address(ledger));
        emit IEnergyLedger.IntervalCorrected(
            START, 1, keccak256(abi.encode(rows)), "readings", "receipts", 50, 0
        );
        _correct(START, 1, rows);
        VM.assertEq(energyOf(alice), 250, "found");
        VM.assertEq(moneyOf(alice), PURSE_MICRO + 190_000, "paid");
        VM.assertEq(moneyOf(bob), PURSE_MICRO - 190_000, "received");
        VM.assertEq(ledger.energyWhTotal(), 350, "minted");
        VM.assertEq(ledger.revisionOf(alice, START), 1, "alice's first");
        VM.assertEq(ledger.revisionOf(bob, START), 1, "bob's first");
        VM.assertEq(ledger.revisionOf(alice, START + INTERVAL_S), 0, "of this interval");
    }

    function testConsumptionFoundLaterIsBurned() external {
        IEnergyLedger.CorrectionRow[] memory rows = _one(_row(bob, -40, 0));
        rows[0].burnedWh = 40;
        _sign(BOB, START, 1, rows);
        VM.expectEmit(address(ledger));
        emit IEnergyLedger.IntervalCorrected(
            START, 1, keccak256(abi.encode(rows)), "readings", "receipts", 0, 40
        );
        _correct(START, 1, rows);
        VM.assertEq(energyOf(bob), 60, "used");
        VM.assertEq(ledger.energyWhTotal(), 260, "burned");
    }

    function testEnergyThatChangesHandsIsNeitherMintedNorBurned() external {
        IEnergyLedger.CorrectionRow[] memory rows = _pair(_row(alice, -30, 0), _row(bob, 30, 0));
        _sign(ALICE, START, 1, rows);
        _correct(START, 1, rows);
        VM.assertEq(energyOf(bob), 130, "got");
        VM.assertEq(ledger.energyWhTotal(), 300, "the same");
    }

    function testItTouchesNoWindowAndNoFlags() external {
        flag(alice, 0xff);
        IEnergyLedger.CorrectionRow[] memory rows = _one(_row(alice, 5, 0));
        rows[0].mintedWh = 5;
        _correct(START, 1, rows);
        (uint256 energyWh,, uint256 latest, uint256 used, uint256 flags) = ledger.accountOf(alice);
        VM.assertEq(energyWh, 205, "a gain, also of a blocked account");
        VM.assertEq(latest << 96 | used, 10 << 96 | 1, "the window");
        VM.assertEq(flags, 0xff, "the flags");
    }

    /* CONSENT */

    function testWhoLosesEnergyHasSigned() external {
        _refused(START, 1, _pair(_row(alice, -30, 0), _row(bob, 30, 0)), _unsigned(alice));
    }

    function testWhoLosesMoneyHasSigned() external {
        _refused(START, 1, _pair(_row(alice, 0, 1), _row(bob, 0, -1)), _unsigned(bob));
        // Not even for energy that it gains.
        IEnergyLedger.CorrectionRow[] memory rows = _pair(_row(alice, -30, 1), _row(bob, 30, -1));
        _sign(ALICE, START, 1, rows);
        _refused(START, 1, rows, _unsigned(bob));
        _sign(BOB, START, 1, rows);
        _correct(START, 1, rows);
    }

    function testAConsentIsForOneCorrection() external {
        VM.warp(START + 2 * INTERVAL_S);
        IEnergyLedger.CorrectionRow[] memory rows = _pair(_row(alice, -30, 5), _row(bob, 30, -5));
        _sign(ALICE, START, 1, rows);
        _sign(BOB, START, 1, rows);
        bytes memory why = _unsigned(first());
        _refused(START, 2, rows, why);
        _refused(START + INTERVAL_S, 1, rows, why);
        _of(rows, alice).energyWh = -31;
        _of(rows, bob).energyWh = 31;
        _refused(START, 1, rows, why);
        _of(rows, alice).energyWh = -30;
        _of(rows, bob).energyWh = 30;
        _of(rows, alice).moneyMicro = 6;
        _of(rows, bob).moneyMicro = -6;
        _refused(START, 1, rows, why);
        _of(rows, alice).moneyMicro = 5;
        _of(rows, bob).moneyMicro = -5;
        VM.prank(operator);
        VM.expectRevert(why);
        ledger.correctInterval(START, 1, "readings", "other receipts", rows);
        _correct(START, 1, rows);
    }

    function testAConsentIsForOneMarket() external {
        IEnergyLedger.CorrectionRow[] memory rows = _pair(_row(alice, -30, 0), _row(bob, 30, 0));
        IEnergyLedger.Terms memory terms = termsOf(address(currency));
        terms.market = "other-street";
        (bytes32 r, bytes32 vs) =
            Consents.correction(ALICE, newLedger(terms), START, 1, "receipts", _of(rows, alice));
        (_of(rows, alice).r, _of(rows, alice).vs) = (r, vs);
        _refused(START, 1, rows, _unsigned(alice));
    }

    /* EACH ONCE */

    function testARevisionCountsOnce() external {
        IEnergyLedger.CorrectionRow[] memory rows = _one(_row(alice, 5, 0));
        rows[0].mintedWh = 5;
        _correct(START, 1, rows);
        _refused(START, 1, rows, _revisionUsed(1));
        _correct(START, 3, rows);
        _refused(START, 2, rows, _revisionUsed(2));
        _refused(START, 3, rows, _revisionUsed(3));
        _correct(START, 255, rows);
        VM.assertEq(energyOf(alice), 215, "three times");
        VM.assertEq(ledger.revisionOf(alice, START), 255, "the last");
    }

    function testRevisionsBeginAtOne() external {
        IEnergyLedger.CorrectionRow[] memory rows = _one(_row(alice, 5, 0));
        rows[0].mintedWh = 5;
        _refused(START, 0, rows, _revisionUsed(0));
    }

    function testRevisionsAreEachIntervalsAndAccountsOwn() external {
        VM.warp(START + 2 * INTERVAL_S);
        IEnergyLedger.CorrectionRow[] memory rows = _one(_row(alice, 5, 0));
        rows[0].mintedWh = 5;
        _correct(START, 7, rows);
        settle(START + INTERVAL_S, trade(10));
        _correct(START + INTERVAL_S, 1, rows);
        rows[0].account = bob;
        _correct(START, 1, rows);
        VM.assertEq(ledger.energyWhTotal(), 315, "all three");
    }

    function testAccountsRise() external {
        address low = first();
        address high = low == alice ? bob : alice;
        bytes memory why =
            abi.encodeWithSelector(IEnergyLedger.RowAccountNotAscending.selector, low);
        IEnergyLedger.CorrectionRow[] memory rows = _pair(_row(low, 0, 1), _row(high, 0, 1));
        (rows[0], rows[1]) = (rows[1], rows[0]);
        _refused(START, 1, rows, why);
        rows[0] = rows[1];
        _refused(START, 1, rows, why);
        _refused(
            START,
            1,
            _one(_row(address(0), 0, 0)),
            abi.encodeWithSelector(IEnergyLedger.RowAccountNotAscending.selector, address(0))
        );
    }

    /* THE WHOLE */

    function testEnergyNetsToWhatWasFound() external {
        IEnergyLedger.CorrectionRow[] memory rows = _one(_row(alice, 5, 0));
        _refused(START, 1, rows, _unbalanced(5, 0));
        rows[0].mintedWh = 4;
        _refused(START, 1, rows, _unbalanced(1, 0));
        rows = _one(_row(bob, -5, 0));
        _sign(BOB, START, 1, rows);
        _refused(START, 1, rows, _unbalanced(-5, 0));
        rows[0].burnedWh = 4;
        _refused(START, 1, rows, _unbalanced(-1, 0));
    }

    function testMoneyNetsToZero() external {
        IEnergyLedger.CorrectionRow[] memory rows = _pair(_row(alice, 0, -9), _row(bob, 0, 10));
        _sign(ALICE, START, 1, rows);
        _refused(START, 1, rows, _unbalanced(0, 1));
        _of(rows, bob).moneyMicro = 8; // nor is there a fee
        _refused(START, 1, rows, _unbalanced(0, -1));
    }

    function testWhatIsMintedStaysWithItsAccount() external {
        // Else the cap of one account would be the cap of all of them together.
        IEnergyLedger.CorrectionRow[] memory rows = _pair(_row(alice, 10, 0), _row(bob, 0, 0));
        _of(rows, bob).mintedWh = 10;
        _refused(START, 1, rows, _meteredInvalid(bob, 10, 0));
        _of(rows, bob).mintedWh = 0;
        _of(rows, alice).mintedWh = 11;
        _refused(START, 1, rows, _meteredInvalid(alice, 11, 0));
        rows = _one(_row(bob, -10, 0));
        rows[0].mintedWh = 1;
        rows[0].burnedWh = 11;
        _sign(BOB, START, 1, rows);
        _refused(START, 1, rows, _meteredInvalid(bob, 1, 11));
        rows[0].mintedWh = 0;
        _refused(START, 1, rows, _meteredInvalid(bob, 0, 11));
    }

    function testWhatIsBurnedWasItsAccounts() external {
        IEnergyLedger.CorrectionRow[] memory rows = _pair(_row(alice, -10, 0), _row(bob, 0, 0));
        _of(rows, bob).burnedWh = 10;
        _sign(ALICE, START, 1, rows);
        _refused(START, 1, rows, _meteredInvalid(bob, 0, 10));
        rows = _one(_row(alice, 10, 0));
        rows[0].mintedWh = 10;
        rows[0].burnedWh = 1;
        _refused(START, 1, rows, _meteredInvalid(alice, 10, 1));
    }

    function testAllRevisionsTogetherMintNoMoreThanTheCap() external {
        IEnergyLedger.CorrectionRow[] memory rows =
            _one(_row(alice, int64(uint64(METERED_MAX_WH)), 0));
        rows[0].mintedWh = METERED_MAX_WH;
        _correct(START, 1, rows);
        rows[0].energyWh = 1;
        rows[0].mintedWh = 1;
        _refused(
            START,
            2,
            rows,
            abi.encodeWithSelector(
                IEnergyLedger.AccountMeteredTooMuch.selector,
                alice,
                METERED_MAX_WH + 1,
                METERED_MAX_WH
            )
        );
    }

    function testOnlyAUsedIntervalMintsAndBurns() external {
        // Else the settler could mint for anybody, at any time, without an order or a signature.
        IEnergyLedger.CorrectionRow[] memory rows = _one(_row(carol, 5, 0));
        rows[0].mintedWh = 5;
        _refused(START, 1, rows, _meteredInvalid(carol, 5, 0));
        uint64 next = START + INTERVAL_S;
        VM.warp(next + INTERVAL_S);
        rows[0].account = alice;
        _refused(next, 1, rows, _meteredInvalid(alice, 5, 0));
        _refused(START - INTERVAL_S, 1, rows, _meteredInvalid(alice, 5, 0));
        rows = _one(_row(bob, -5, 0));
        rows[0].burnedWh = 5;
        _sign(BOB, next, 1, rows);
        _refused(next, 1, rows, _meteredInvalid(bob, 0, 5));
        settle(next, trade(10));
        _correct(next, 1, rows);
        VM.assertEq(energyOf(bob), 95, "used by now");
    }

    function testFlagsHoldInCorrections() external {
        IEnergyLedger.CorrectionRow[] memory rows = _pair(_row(alice, -30, 0), _row(bob, 30, 0));
        _sign(ALICE, START, 1, rows);
        flag(alice, NO_SEND);
        _refused(START, 1, rows, _blocked(alice, NO_SEND));
        ledger.setAccountFlags(alice, 0);
        ledger.setAccountFlags(bob, NO_RECEIVE);
        _refused(START, 1, rows, _blocked(bob, NO_RECEIVE));
        ledger.setAccountFlags(alice, NO_RECEIVE);
        ledger.setAccountFlags(bob, NO_SEND);
        _correct(START, 1, rows);
        VM.assertEq(energyOf(bob), 130, "each may do what it does here");
    }

    function testFlagsBindOnlyWhatChangesHands() external {
        flag(alice, 0xff);
        ledger.setAccountFlags(bob, 0xff);
        IEnergyLedger.CorrectionRow[] memory rows = _pair(_row(alice, 5, -7), _row(bob, -5, 7));
        (_of(rows, alice).mintedWh, _of(rows, bob).burnedWh) = (5, 5);
        _sign(ALICE, START, 1, rows);
        _sign(BOB, START, 1, rows);
        _correct(START, 1, rows);
        VM.assertEq(energyOf(alice), 205, "minted");
        VM.assertEq(energyOf(bob), 95, "burned");
    }

    function testNobodyLosesWhatItDoesNotHave() external {
        IEnergyLedger.CorrectionRow[] memory rows = _pair(_row(alice, 101, 0), _row(bob, -101, 0));
        _sign(BOB, START, 1, rows);
        _refused(
            START,
            1,
            rows,
            abi.encodeWithSelector(IEnergyLedger.AccountEnergyInsufficient.selector, bob, 100, 101)
        );
        int64 most = int64(uint64(moneyOf(alice))) + 1;
        rows = _pair(_row(alice, 0, -most), _row(bob, 0, most));
        _sign(ALICE, START, 1, rows);
        _refused(
            START,
            1,
            rows,
            abi.encodeWithSelector(
                IEnergyLedger.AccountMoneyInsufficient.selector, alice, most - 1, most
            )
        );
    }

    function testTheTypesEnds() external {
        IEnergyLedger.CorrectionRow[] memory rows = _one(_row(alice, type(int64).min, 0));
        _sign(ALICE, START, 1, rows);
        _refused(
            START,
            1,
            rows,
            abi.encodeWithSelector(
                IEnergyLedger.AccountEnergyInsufficient.selector, alice, 200, uint256(2 ** 63)
            )
        );
    }

    /* WHO AND WHEN */

    function testOnlyTheSettlerCorrects() external {
        IEnergyLedger.CorrectionRow[] memory rows = _one(_row(alice, 5, 0));
        rows[0].mintedWh = 5;
        VM.prank(alice);
        VM.expectRevert(abi.encodeWithSelector(IEnergyLedger.SettlerOnly.selector, alice));
        ledger.correctInterval(START, 1, 0, 0, rows);
    }

    function testThePauseStopsCorrections() external {
        IEnergyLedger.CorrectionRow[] memory rows = _one(_row(alice, 5, 0));
        rows[0].mintedWh = 5;
        pause(true);
        _refused(START, 1, rows, abi.encodeWithSelector(IEnergyLedger.TradingPaused.selector));
    }

    function testThereMustBeARow() external {
        _refused(
            START,
            1,
            new IEnergyLedger.CorrectionRow[](0),
            abi.encodeWithSelector(IEnergyLedger.BatchLengthInvalid.selector, 0)
        );
    }

    function testOnlyDeliveredIntervalsForAsLongAsTheySettle() external {
        IEnergyLedger.CorrectionRow[] memory rows = _one(_row(alice, 5, 0));
        rows[0].mintedWh = 5;
        uint64 next = START + INTERVAL_S;
        VM.warp(next + INTERVAL_S - 1);
        _refused(
            next,
            1,
            rows,
            abi.encodeWithSelector(IEnergyLedger.DeliveryNotOver.selector, next, next + INTERVAL_S)
        );
        _refused(
            START - 1,
            1,
            rows,
            abi.encodeWithSelector(IEnergyLedger.DeliveryMisaligned.selector, START - 1)
        );
        uint64 until = START + INTERVAL_S + SETTLE_WITHIN_S;
        VM.warp(until + 1);
        _refused(
            START,
            1,
            rows,
            abi.encodeWithSelector(IEnergyLedger.DeliveryTooLongAgo.selector, START, until)
        );
        VM.warp(until);
        _correct(START, 1, rows);
    }

    /* HELP */

    function _row(address account, int64 energyWh, int64 moneyMicro)
        private
        pure
        returns (IEnergyLedger.CorrectionRow memory row)
    {
        (row.account, row.energyWh, row.moneyMicro) = (account, energyWh, moneyMicro);
    }

    function _one(IEnergyLedger.CorrectionRow memory row)
        private
        pure
        returns (IEnergyLedger.CorrectionRow[] memory rows)
    {
        rows = new IEnergyLedger.CorrectionRow[](1);
        rows[0] = row;
    }

    function _pair(IEnergyLedger.CorrectionRow memory one, IEnergyLedger.CorrectionRow memory two)
        private
        pure
        returns (IEnergyLedger.CorrectionRow[] memory rows)
    {
        rows = new IEnergyLedger.CorrectionRow[](2);
        (rows[0], rows[1]) = one.account < two.account ? (one, two) : (two, one);
    }

    /// @dev The account's row, itself: what is written to it is written to the rows.
    function _of(IEnergyLedger.CorrectionRow[] memory rows, address account)
        private
        pure
        returns (IEnergyLedger.CorrectionRow memory)
    {
        return rows[0].account == account ? rows[0] : rows[1];
    }

    function _sign(
        uint256 key,
        uint64 start,
        uint8 revision,
        IEnergyLedger.CorrectionRow[] memory rows
    ) private view {
        IEnergyLedger.CorrectionRow memory row = _of(rows, VM.addr(key));
        (row.r, row.vs) = Consents.correction(key, ledger, start, revision, "receipts", row);
    }

    function _correct(uint64 start, uint8 revision, IEnergyLedger.CorrectionRow[] memory rows)
        private
    {
        VM.prank(operator);
        ledger.correctInterval(start, revision, "readings", "receipts", rows);
    }

    function _refused(
        uint64 start,
        uint8 revision,
        IEnergyLedger.CorrectionRow[] memory rows,
        bytes memory why
    ) private {
        VM.prank(operator);
        VM.expectRevert(why);
        ledger.correctInterval(start, revision, "readings", "receipts", rows);
    }

    function _unsigned(address account) private pure returns (bytes memory) {
        return abi.encodeWithSelector(IEnergyLedger.SignatureInvalid.selector, account);
    }

    function _blocked(address account, uint256 flags) private pure returns (bytes memory) {
        return abi.encodeWithSelector(IEnergyLedger.AccountBlocked.selector, account, flags);
    }

    function _revisionUsed(uint256 revision) private view returns (bytes memory) {
        return
            abi.encodeWithSelector(IEnergyLedger.CorrectionRevisionUsed.selector, alice, revision);
    }

    function _unbalanced(int256 energyWh, int256 moneyMicro) private pure returns (bytes memory) {
        return
            abi.encodeWithSelector(
                IEnergyLedger.CorrectionUnbalanced.selector, energyWh, moneyMicro
            );
    }

    function _meteredInvalid(address account, uint256 mintedWh, uint256 burnedWh)
        private
        pure
        returns (bytes memory)
    {
        return abi.encodeWithSelector(
            IEnergyLedger.CorrectionMeteredInvalid.selector, account, mintedWh, burnedWh
        );
    }
}
