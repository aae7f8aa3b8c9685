// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {ReadingDisputes} from "../../src/ReadingDisputes.sol";
import {IReadingDisputes} from "../../src/interfaces/IReadingDisputes.sol";
import {ReadingHash} from "../../src/libraries/ReadingHash.sol";
import {Batches, TestOrder} from "../base/Batches.sol";
import {Disputes, Tree} from "../base/Disputes.sol";
import {VM} from "../base/Vm.sol";

/// @title ReadingDisputesTest: bonds, and evidence that holds
contract ReadingDisputesTest is Disputes {
    /* CONFIGURATION */

    function testConstants() external view {
        VM.assertEq(address(disputes.ledger()), address(ledger), "ledger");
        VM.assertEq(address(disputes.registry()), address(registry), "registry");
        VM.assertEq(address(disputes.currency()), address(currency), "currency");
        VM.assertEq(disputes.community(), treasury, "community");
        VM.assertEq(disputes.bountyMicro(), BOUNTY, "bounty");
        VM.assertEq(disputes.bondDelayS(), BOND_DELAY_S, "delay");
    }

    function testRefusesAnEmptyConfiguration() external {
        VM.expectRevert(_configuration("community"));
        new ReadingDisputes(ledger, registry, address(0), BOUNTY, BOND_DELAY_S);
        VM.expectRevert(_configuration("bountyMicro"));
        new ReadingDisputes(ledger, registry, treasury, 0, BOND_DELAY_S);
        VM.expectRevert(_configuration("bondDelayS"));
        new ReadingDisputes(ledger, registry, treasury, BOUNTY, 0);
    }

    function testLeafIsTheProtocols() external pure {
        // coordinator: reading_leaf((1).to_bytes(32, "big"), (2 << 256 | 3).to_bytes(64, "big"))
        bytes32 expected = 0x51fd7a7af15b432a2242d0e6cf5c8a494111dfbb3c20441aa241eccced57a9ed;
        bytes32[3] memory parts = [bytes32(uint256(1)), bytes32(uint256(2)), bytes32(uint256(3))];
        VM.assertEq(ReadingHash.leaf(parts[0], parts[1], parts[2]), expected, "leaf");
    }

    function testSettlementDigestIsTheTypedData() external view {
        IReadingDisputes.Settlement memory s = stated(tree(SOLD_WH), "rows");
        bytes32 typeHash = keccak256(
            "Settlement(uint64 deliveryStart,uint32 revision,bytes32 batchHash,bytes32 readingsRoot,bytes32 receiptsRoot)"
        );
        bytes32 structHash = keccak256(
            abi.encode(
                typeHash, s.deliveryStart, s.revision, s.batchHash, s.readingsRoot, s.receiptsRoot
            )
        );
        VM.assertEq(disputes.settlementDigest(s), digestOf(structHash), "digest");
    }

    /* BONDS */

    function testPostsABondForAnyone() external {
        currency.mint(bob, 7);
        VM.startPrank(bob);
        currency.approve(address(disputes), 7);
        VM.expectEmit(address(disputes));
        emit IReadingDisputes.BondPosted(carol, bob, 7);
        VM.assertEq(disputes.postBond(carol, 7), 7, "credited");
        VM.assertEq(bondOf(carol), 7, "bond");
        VM.assertEq(currency.balanceOf(bob), 0, "paid");
    }

    function testPostRefusals() external {
        VM.expectRevert(abi.encodeWithSelector(IReadingDisputes.AmountZero.selector));
        disputes.postBond(carol, 0);
        VM.expectRevert(
            abi.encodeWithSelector(IReadingDisputes.RecipientInvalid.selector, address(0))
        );
        disputes.postBond(address(0), 1);
    }

    function testBondLeavesAfterItsDelay() external {
        uint256 availableAt = block.timestamp + BOND_DELAY_S;
        VM.startPrank(alice);
        VM.expectEmit(address(disputes));
        emit IReadingDisputes.BondWithdrawalRequested(alice, BOUNTY, availableAt);
        disputes.requestBondWithdrawal(BOUNTY);
        VM.warp(availableAt - 1);
        VM.expectRevert(
            abi.encodeWithSelector(
                IReadingDisputes.BondWithdrawalTooEarly.selector, alice, availableAt
            )
        );
        disputes.withdrawBond(carol);
        VM.warp(availableAt);
        VM.expectEmit(address(disputes));
        emit IReadingDisputes.BondWithdrawn(alice, carol, BOUNTY);
        VM.assertEq(disputes.withdrawBond(carol), BOUNTY, "taken");
        VM.assertEq(currency.balanceOf(carol), BOUNTY, "paid");
        VM.assertEq(bondOf(alice), 2 * BOUNTY, "the rest stays");
        VM.expectRevert(
            abi.encodeWithSelector(IReadingDisputes.BondWithdrawalNotRequested.selector, alice)
        );
        disputes.withdrawBond(carol);
    }

    function testANewRequestReplacesTheOldOne() external {
        VM.startPrank(alice);
        disputes.requestBondWithdrawal(BOUNTY);
        VM.warp(block.timestamp + BOND_DELAY_S);
        disputes.requestBondWithdrawal(2 * BOUNTY);
        (, uint256 leaving, uint256 availableAt) = disputes.bondOf(alice);
        VM.assertEq(leaving, 2 * BOUNTY, "leaving");
        VM.assertEq(availableAt, block.timestamp + BOND_DELAY_S, "waits anew");
        disputes.requestBondWithdrawal(0);
        (, leaving, availableAt) = disputes.bondOf(alice);
        VM.assertTrue(leaving == 0 && availableAt == 0, "ended");
        VM.expectRevert(
            abi.encodeWithSelector(IReadingDisputes.BondWithdrawalNotRequested.selector, alice)
        );
        disputes.withdrawBond(alice);
    }

    function testRequestAndRecipientRefusals() external {
        VM.startPrank(alice);
        VM.expectRevert(
            abi.encodeWithSelector(
                IReadingDisputes.BondInsufficient.selector, alice, 3 * BOUNTY, 3 * BOUNTY + 1
            )
        );
        disputes.requestBondWithdrawal(3 * BOUNTY + 1);
        disputes.requestBondWithdrawal(3 * BOUNTY);
        VM.warp(block.timestamp + BOND_DELAY_S);
        address[2] memory wrong = [address(0), address(disputes)];
        for (uint256 i; i < wrong.length; ++i) {
            VM.expectRevert(
                abi.encodeWithSelector(IReadingDisputes.RecipientInvalid.selector, wrong[i])
            );
            disputes.withdrawBond(wrong[i]);
        }
    }

    function testIsBondedCountsWhatStays() external {
        VM.assertFalse(disputes.isBonded(carol), "nothing");
        bond(carol, 2 * BOUNTY - 1);
        VM.assertFalse(disputes.isBonded(carol), "too little");
        bond(carol, 1);
        VM.assertTrue(disputes.isBonded(carol), "a whole forfeit");
        VM.prank(carol);
        disputes.requestBondWithdrawal(1);
        VM.assertFalse(disputes.isBonded(carol), "what leaves counts no more");
        bond(carol, 1);
        VM.assertTrue(disputes.isBonded(carol), "what stays does");
    }

    function testForfeitsGoToTheCommunity() external {
        accuse(tree(SOLD_WH), 1, packReading(END, 2, 700, 0));
        VM.assertEq(disputes.forfeitsMicro(), BOUNTY, "kept");
        VM.expectEmit(address(disputes));
        emit IReadingDisputes.ForfeitsCollected(treasury, BOUNTY);
        disputes.collectForfeits();
        VM.assertEq(currency.balanceOf(treasury), BOUNTY, "paid");
        disputes.collectForfeits();
        VM.assertEq(currency.balanceOf(treasury), BOUNTY, "once");
    }

    /* A METER'S CONTRADICTION */

    function testOneMomentWithTwoReadings() external {
        Tree memory known = tree(SOLD_WH);
        uint256 other = packReading(END, 2, 701, OPENING_WH + SOLD_WH);
        IReadingDisputes.Settlement memory statement = stated(known, "rows");
        VM.expectEmit(address(disputes));
        emit IReadingDisputes.MeterContradicted(
            deviceOf(METER), operator, START, 0, known.readings[1], other
        );
        VM.expectEmit(address(disputes));
        emit IReadingDisputes.BondForfeited(alice, finder, 2 * BOUNTY);
        VM.assertEq(accuse(statement, known, 1, other), BOUNTY, "bounty");
        VM.assertEq(currency.balanceOf(finder), BOUNTY, "paid");
        VM.assertEq(bondOf(alice), BOUNTY, "forfeited twice the bounty");
        VM.assertTrue(registry.meterOf(deviceOf(METER)).suspended, "suspended");
        VM.assertTrue(
            disputes.findingOf(operator, START, 0) == IReadingDisputes.Finding.MeterContradicted,
            "marked"
        );
        VM.assertTrue(
            disputes.findingOf(operator, START, 1) == IReadingDisputes.Finding.None
                && disputes.findingOf(operator, END, 0) == IReadingDisputes.Finding.None,
            "nothing else"
        );
    }

    function testRegistersThatFallWithTime() external {
        uint256[4] memory others = [
            packReading(END + 1, 3, 699, OPENING_WH + SOLD_WH), // consumption fell later
            packReading(END + 1, 3, 700, OPENING_WH + SOLD_WH - 1), // production fell later
            packReading(END - 1, 1, 701, OPENING_WH), // consumption was higher before
            packReading(END - 1, 1, 700, OPENING_WH + SOLD_WH + 1) // production was higher before
        ];
        for (uint256 i; i < others.length; ++i) {
            uint256 before = VM.snapshotState();
            VM.assertEq(accuse(tree(SOLD_WH), 1, others[i]), BOUNTY, "bounty");
            VM.revertToState(before);
        }
    }

    function testNumberingAloneCostsNoMoney() external {
        // A home that numbers refused readings anew signs such ones honestly.
        uint256[3] memory others = [
            packReading(END + 60, 2, 700, OPENING_WH + SOLD_WH), // one number for two moments
            packReading(END, 3, 700, OPENING_WH + SOLD_WH), // one moment with two numbers
            packReading(END + 60, 1, 800, OPENING_WH + SOLD_WH) // a later moment, a lower number
        ];
        for (uint256 i; i < others.length; ++i) {
            uint256 before = VM.snapshotState();
            VM.assertEq(accuse(tree(SOLD_WH), 1, others[i]), 0, "no bounty");
            VM.assertEq(bondOf(alice), 3 * BOUNTY, "no forfeit");
            VM.assertTrue(registry.meterOf(deviceOf(METER)).suspended, "suspended");
            VM.revertToState(before);
        }
    }

    function testReadingsThatFitAreNoEvidence() external {
        Tree memory known = tree(SOLD_WH);
        uint256[3] memory others = [
            known.readings[1] | uint256(5) << 32, // the same with other flags
            known.readings[0],
            packReading(END + 1, 3, 700, OPENING_WH + SOLD_WH)
        ];
        for (uint256 i; i < others.length; ++i) {
            refusesAccusation(
                known,
                1,
                others[i],
                abi.encodeWithSelector(
                    IReadingDisputes.ReadingsDoNotContradict.selector, known.readings[1], others[i]
                )
            );
        }
    }

    function testAForfeitTakesWhatIsLeft() external {
        accuse(tree(SOLD_WH), 1, packReading(END, 2, 0, 0));
        rotate(METER, METER + 7, ALICE);
        Tree memory known = tree(SOLD_WH);
        known.keys[0] = known.keys[1] = METER + 7;
        known = tree(known.keys, known.readings);
        VM.assertEq(accuse(known, 1, packReading(END, 2, 0, 0)), BOUNTY / 2, "half of the rest");
        VM.assertEq(bondOf(alice), 0, "nothing left");
        VM.assertEq(disputes.forfeitsMicro(), BOUNTY + BOUNTY / 2, "the other half");
    }

    function testAMeterWithoutABondIsSuspendedAllTheSame() external {
        Tree memory known = tree(SOLD_WH);
        VM.assertEq(accuse(known, 3, packReading(END, 2, 0, 0)), 0, "Bob has no bond");
        VM.assertTrue(registry.meterOf(deviceOf(BOBS_METER)).suspended, "suspended");
    }

    function testAnOddBondIsSharedToTheUnit() external {
        bond(bob, 7);
        VM.assertEq(accuse(tree(SOLD_WH), 3, packReading(END, 2, 0, 0)), 3, "rounded down");
        VM.assertEq(disputes.forfeitsMicro(), 4, "the rest to the community");
    }

    /* A SIGNER'S LIE */

    function testMintAboveTheRegisters() external {
        bytes memory rows = settleTrade(uint48(SOLD_WH));
        Tree memory known = tree(SOLD_WH - 1);
        IReadingDisputes.Settlement memory statement = stated(known, rows);
        IReadingDisputes.MeterSpan[] memory meters = spans(known);
        VM.expectEmit(address(disputes));
        emit IReadingDisputes.SignerLied(operator, START, alice, 0, SOLD_WH, SOLD_WH - 1);
        VM.expectEmit(address(disputes));
        emit IReadingDisputes.BondForfeited(operator, finder, 2 * BOUNTY);
        VM.prank(finder);
        VM.assertEq(disputes.disputeSettlement(statement, rows, alice, meters), BOUNTY, "bounty");
        VM.assertEq(currency.balanceOf(finder), BOUNTY, "paid");
        VM.assertEq(bondOf(operator), 8 * BOUNTY, "forfeited");
        VM.assertEq(bondOf(alice), 3 * BOUNTY, "not Alice's");
        VM.assertTrue(
            disputes.findingOf(operator, START, 0) == IReadingDisputes.Finding.SignerLied, "marked"
        );
    }

    function testAMintThatTheRegistersCoverIsNoLie() external {
        bytes memory rows = settleTrade(uint48(SOLD_WH));
        Tree memory known = tree(SOLD_WH);
        _refusesLie(
            stated(known, rows),
            rows,
            spans(known),
            abi.encodeWithSelector(IReadingDisputes.MintIsCovered.selector, alice, SOLD_WH, SOLD_WH)
        );
    }

    function testAllRowsOfTheAccountCount() external {
        // Two sales of 600 and 400 Wh, metered 700 and 400: 1100 Wh minted.
        fund(bob);
        TestOrder[] memory orders = new TestOrder[](3);
        orders[0] = Batches.sell(ALICE, 600, PRICE, PRICE);
        orders[0].meteredWh = 700;
        orders[1] = Batches.sell(ALICE, 400, PRICE, PRICE);
        orders[1].terms = "other";
        orders[2] = Batches.buy(BOB, 1000, PRICE, PRICE);
        bytes memory rows = Batches.pack(ledger, START, orders);
        settleRows(START, rows);
        Tree memory known = tree(1100);
        _refusesLie(
            stated(known, rows),
            rows,
            spans(known),
            abi.encodeWithSelector(IReadingDisputes.MintIsCovered.selector, alice, 1100, 1100)
        );
        known = tree(1099);
        VM.assertEq(_proveLie(stated(known, rows), rows, spans(known)), BOUNTY, "1 Wh too much");
    }

    function testReadingsMayEncloseTheInterval() external {
        bytes memory rows = settleTrade(uint48(SOLD_WH));
        Tree memory known = tree(0);
        known.readings[0] = packReading(START - 300, 1, 700, OPENING_WH);
        known.readings[1] = packReading(END + 300, 2, 700, OPENING_WH + SOLD_WH - 1);
        known = tree(known.keys, known.readings);
        VM.assertEq(_proveLie(stated(known, rows), rows, spans(known)), BOUNTY, "not even so");
    }

    function testAllMetersOfTheAccountCount() external {
        register(METER + 1, ALICE);
        bytes memory rows = settleTrade(uint48(SOLD_WH));
        Tree memory known = _twoMeters(600, 400);
        _refusesLie(
            stated(known, rows),
            rows,
            _twoSpans(known),
            abi.encodeWithSelector(IReadingDisputes.MintIsCovered.selector, alice, SOLD_WH, SOLD_WH)
        );
        known = _twoMeters(600, 399);
        VM.assertEq(_proveLie(stated(known, rows), rows, _twoSpans(known)), BOUNTY, "a lie");
    }

    function testARotatedMeterIsShownUnderEitherKey() external {
        bytes memory rows = settleTrade(uint48(SOLD_WH));
        rotate(METER, METER + 7, ALICE);
        Tree memory known = tree(0);
        IReadingDisputes.Settlement memory statement = stated(known, rows);
        uint256 before = VM.snapshotState();
        VM.assertEq(_proveLie(statement, rows, spans(known)), BOUNTY, "the old key");
        VM.revertToState(before);
        known.keys[0] = known.keys[1] = METER + 7;
        known = tree(known.keys, known.readings);
        VM.assertEq(_proveLie(stated(known, rows), rows, spans(known)), BOUNTY, "the new key");
    }

    function testAnAccountWithoutMetersMintsNothing() external {
        fund(bob);
        TestOrder[] memory orders =
            pair(Batches.sell(CAROL, 10, PRICE, PRICE), Batches.buy(BOB, 10, PRICE, PRICE));
        bytes memory rows = Batches.pack(ledger, START, orders);
        settleRows(START, rows);
        IReadingDisputes.Settlement memory statement = stated(tree(0), rows);
        VM.prank(finder);
        uint256 bounty =
            disputes.disputeSettlement(statement, rows, carol, new IReadingDisputes.MeterSpan[](0));
        VM.assertEq(bounty, BOUNTY, "energy from nowhere");
    }

    /* AN INVENTED READING */

    function testAnInventedReading() external {
        // Alice's meter showed nothing; the signer makes up what covers the mint.
        bytes memory rows = settleTrade(uint48(SOLD_WH));
        Tree memory made = tree(SOLD_WH);
        IReadingDisputes.SettledReading memory reading = invented(made, 1, new bytes(128));
        IReadingDisputes.Settlement memory statement = stated(made, rows);
        VM.expectEmit(address(disputes));
        emit IReadingDisputes.ReadingInvented(operator, START, deviceOf(METER), 0, made.readings[1]);
        VM.expectEmit(address(disputes));
        emit IReadingDisputes.BondForfeited(operator, finder, 2 * BOUNTY);
        VM.assertEq(_proveInvention(statement, METER, reading), BOUNTY, "bounty");
        VM.assertEq(currency.balanceOf(finder), BOUNTY, "paid");
        VM.assertEq(bondOf(operator), 8 * BOUNTY, "forfeited");
        VM.assertEq(bondOf(alice), 3 * BOUNTY, "not Alice's");
        VM.assertFalse(registry.meterOf(deviceOf(METER)).suspended, "nor her meter's fault");
        VM.assertTrue(
            disputes.findingOf(operator, START, 0) == IReadingDisputes.Finding.SignerLied, "marked"
        );
    }

    function testAnInventedReadingOfAMeterThatCountsNoMore() external {
        Tree memory made = tree(SOLD_WH);
        IReadingDisputes.SettledReading memory reading = invented(made, 1, new bytes(128));
        IReadingDisputes.Settlement memory statement = stated(made, "rows");
        uint256 before = VM.snapshotState();
        rotate(METER, METER + 7, ALICE);
        VM.assertEq(_proveInvention(statement, METER, reading), BOUNTY, "rotated");
        VM.revertToState(before);
        VM.prank(alice);
        registry.revokeMeter(deviceOf(METER));
        VM.assertEq(_proveInvention(statement, METER, reading), BOUNTY, "revoked");
        VM.revertToState(before);
        suspend(deviceOf(METER));
        VM.assertEq(_proveInvention(statement, METER, reading), BOUNTY, "suspended");
    }

    function testAnotherMetersSignatureIsAnInvention() external {
        Tree memory made = tree(SOLD_WH);
        bytes memory others = signReading(BOBS_METER, made.readings[1]);
        IReadingDisputes.SettledReading memory reading = invented(made, 1, others);
        IReadingDisputes.Settlement memory statement = stated(made, "rows");
        VM.assertEq(_proveInvention(statement, METER, reading), BOUNTY, "not its key");
    }

    function testTheWorseFindingStays() external {
        bytes memory rows = settleTrade(uint48(SOLD_WH));
        Tree memory known = tree(0);
        IReadingDisputes.Settlement memory statement = stated(known, rows);
        accuse(statement, known, 3, packReading(END, 2, 0, 0));
        _proveLie(statement, rows, spans(known));
        accuse(statement, known, 1, packReading(END, 2, 0, 0));
        VM.assertTrue(
            disputes.findingOf(operator, START, 0) == IReadingDisputes.Finding.SignerLied, "worse"
        );
    }

    function testEachRevisionIsAStatementOfItsOwn() external {
        bytes memory rows = settleTrade(uint48(SOLD_WH));
        Tree memory known = tree(0);
        IReadingDisputes.Settlement memory statement = stated(known, rows);
        _proveLie(statement, rows, spans(known));
        statement.revision = 1;
        sign(statement, SIGNER);
        VM.assertEq(_proveLie(statement, rows, spans(known)), BOUNTY, "the second lie");
        VM.assertEq(bondOf(operator), 6 * BOUNTY, "paid twice");
    }

    function testAFindingIsAboutOneSigner() external {
        bond(carol, 1);
        Tree memory known = tree(SOLD_WH);
        IReadingDisputes.Settlement memory statement = stated(known, "rows");
        sign(statement, CAROL);
        accuse(statement, known, 1, packReading(END, 2, 0, 0));
        VM.assertTrue(
            disputes.findingOf(carol, START, 0) == IReadingDisputes.Finding.MeterContradicted,
            "who stated it"
        );
        VM.assertTrue(
            disputes.findingOf(operator, START, 0) == IReadingDisputes.Finding.None, "nobody else"
        );
    }

    function testAnIntervalBehindTheLedgersWindowCountsAsSettled() external {
        bytes memory rows = settleTrade(uint48(SOLD_WH));
        uint64 later = START + 96 * INTERVAL_S;
        VM.warp(later + INTERVAL_S);
        settle(later, trade(10));
        Tree memory known = tree(0);
        VM.assertEq(_proveLie(stated(known, rows), rows, spans(known)), BOUNTY, "96 behind");
    }

    /* HELP */

    function _configuration(string memory field) private pure returns (bytes memory) {
        return abi.encodeWithSelector(IReadingDisputes.ConfigurationInvalid.selector, field);
    }

    function _proveInvention(
        IReadingDisputes.Settlement memory statement,
        uint256 meterKey,
        IReadingDisputes.SettledReading memory reading
    ) private returns (uint256) {
        VM.prank(finder);
        return disputes.disputeReading(statement, deviceOf(meterKey), reading);
    }

    function _proveLie(
        IReadingDisputes.Settlement memory statement,
        bytes memory rows,
        IReadingDisputes.MeterSpan[] memory meters
    ) private returns (uint256) {
        VM.prank(finder);
        return disputes.disputeSettlement(statement, rows, alice, meters);
    }

    function _refusesLie(
        IReadingDisputes.Settlement memory statement,
        bytes memory rows,
        IReadingDisputes.MeterSpan[] memory meters,
        bytes memory why
    ) private {
        VM.prank(finder);
        VM.expectRevert(why);
        disputes.disputeSettlement(statement, rows, alice, meters);
    }

    /// @dev Two meters of Alice, the one with the lower id first.
    function _twoMeters(uint256 firstWh, uint256 secondWh) private view returns (Tree memory) {
        bool rising = deviceOf(METER) < deviceOf(METER + 1);
        Tree memory known = tree(0);
        known.keys[0] = known.keys[1] = rising ? METER : METER + 1;
        known.keys[2] = known.keys[3] = rising ? METER + 1 : METER;
        known.readings[1] = packReading(END, 2, 700, OPENING_WH + firstWh);
        known.readings[3] = packReading(END, 2, 50, secondWh);
        return tree(known.keys, known.readings);
    }

    function _twoSpans(Tree memory known)
        private
        view
        returns (IReadingDisputes.MeterSpan[] memory both)
    {
        both = new IReadingDisputes.MeterSpan[](2);
        (both[0], both[1]) = (span(known, 0), span(known, 2));
    }
}
