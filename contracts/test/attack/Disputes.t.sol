// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";

import {ReadingDisputes} from "../../src/ReadingDisputes.sol";
import {IReadingDisputes} from "../../src/interfaces/IReadingDisputes.sol";
import {Disputes, Tree} from "../base/Disputes.sol";
import {CallbackToken, FalseToken, FeeToken} from "../base/Tokens.sol";
import {VM} from "../base/Vm.sol";

/// @title DisputeAttacks: made-up evidence, and ways around a bond
contract DisputeAttacks is Disputes {
    uint256 private constant SECP_ORDER =
        0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141;
    uint256 private constant LYING = 7; // what Alice's registers rose, where 1000 Wh were minted

    bytes private rows;

    /* NOBODY PROFITS FROM EVIDENCE AGAINST ITSELF */

    function testTheOwnerCannotAccuseItsMeter() external {
        Tree memory known = tree(SOLD_WH);
        IReadingDisputes.Settlement memory statement = stated(known, "rows");
        IReadingDisputes.SettledReading memory reading = settled(known, 1);
        uint256 other = packReading(END, 2, 0, 0);
        bytes memory signature = signReading(METER, other);
        uint256 deviceId = deviceOf(METER);
        VM.prank(alice);
        VM.expectRevert(abi.encodeWithSelector(IReadingDisputes.SelfDispute.selector, alice));
        disputes.disputeMeter(statement, deviceId, reading, other, signature);
    }

    function testTheOwnersStrawManLosesMoney() external {
        // Taking the bond back would have given all of it.
        uint256 before = bondOf(alice) + currency.balanceOf(finder);
        accuse(tree(SOLD_WH), 1, packReading(END, 2, 0, 0));
        VM.assertEq(bondOf(alice) + currency.balanceOf(finder), before - BOUNTY, "a bounty lost");
    }

    function testTheOwnersStrawManWinsNothingWithoutABond() external {
        accuse(tree(SOLD_WH), 3, packReading(END, 2, 0, 0));
        VM.assertEq(currency.balanceOf(finder), 0, "no pot pays");
        VM.assertEq(bondOf(operator), 10 * BOUNTY, "nor the signer");
        VM.assertEq(bondOf(alice), 3 * BOUNTY, "nor another member");
    }

    function testTheSignerCannotAccuseItself() external {
        IReadingDisputes.Settlement memory statement = _lie();
        IReadingDisputes.MeterSpan[] memory meters = spans(tree(LYING));
        VM.prank(operator);
        VM.expectRevert(abi.encodeWithSelector(IReadingDisputes.SelfDispute.selector, operator));
        disputes.disputeSettlement(statement, rows, alice, meters);
    }

    function testTheSignersStrawManLosesMoney() external {
        IReadingDisputes.Settlement memory statement = _lie();
        uint256 before = bondOf(operator) + currency.balanceOf(finder);
        _prove(statement, spans(tree(LYING)));
        VM.assertEq(bondOf(operator) + currency.balanceOf(finder), before - BOUNTY, "lost");
    }

    /* ONCE */

    function testAMeterPaysOnce() external {
        Tree memory known = tree(SOLD_WH);
        accuse(known, 1, packReading(END, 2, 0, 0));
        refusesAccusation(
            known,
            0,
            packReading(START, 1, 0, 0),
            abi.encodeWithSelector(IReadingDisputes.MeterAlreadyDisputed.selector, deviceOf(METER))
        );
    }

    function testALiePaysOnce() external {
        IReadingDisputes.Settlement memory statement = _lie();
        _prove(statement, spans(tree(LYING)));
        statement.receiptsRoot = "others"; // the same interval and revision, stated twice
        sign(statement, SIGNER);
        _refuses(
            statement,
            spans(tree(LYING)),
            abi.encodeWithSelector(
                IReadingDisputes.SettlementAlreadyDisputed.selector, operator, START, 0
            )
        );
    }

    /* NO WAY AROUND THE BOND */

    function testRevocationIsNoRefuge() external {
        VM.startPrank(alice);
        registry.revokeMeter(deviceOf(METER));
        VM.stopPrank();
        VM.assertEq(accuse(tree(SOLD_WH), 1, packReading(END, 2, 0, 0)), BOUNTY, "pays");
    }

    function testRotationIsNoRefuge() external {
        rotate(METER, METER + 7, ALICE);
        VM.assertEq(accuse(tree(SOLD_WH), 1, packReading(END, 2, 0, 0)), BOUNTY, "pays");
    }

    function testALaterResetIsNoRefuge() external {
        reset(METER, ALICE, packReading(END + 1, 3, 0, 0));
        VM.assertEq(accuse(tree(SOLD_WH), 1, packReading(END, 2, 0, 0)), BOUNTY, "pays");
    }

    function testABondThatIsAskedForStillAnswers() external {
        VM.prank(alice);
        disputes.requestBondWithdrawal(3 * BOUNTY);
        VM.assertEq(accuse(tree(SOLD_WH), 1, packReading(END, 2, 0, 0)), BOUNTY, "pays");
        VM.warp(block.timestamp + BOND_DELAY_S);
        VM.prank(alice);
        VM.assertEq(disputes.withdrawBond(alice), BOUNTY, "what is left of it");
        VM.assertEq(bondOf(alice), 0, "and no more");
    }

    function testAStandingRequestIsNoBond() external {
        VM.prank(operator);
        disputes.requestBondWithdrawal(10 * BOUNTY);
        VM.warp(block.timestamp + 10 * BOND_DELAY_S);
        VM.assertFalse(disputes.isBonded(operator), "could be gone with the next transaction");
    }

    /* STATEMENTS */

    function testAnUnbondedSigner() external {
        Tree memory known = tree(SOLD_WH);
        IReadingDisputes.Settlement memory statement = stated(known, "rows");
        sign(statement, CAROL);
        bytes memory why = abi.encodeWithSelector(IReadingDisputes.SignerUnbonded.selector, carol);
        refusesAccusation(statement, known, 1, packReading(END, 2, 0, 0), why);
        _settle();
        IReadingDisputes.Settlement memory lie = stated(tree(LYING), rows);
        sign(lie, CAROL);
        _refuses(lie, spans(tree(LYING)), why);
    }

    function testAStatementThatTheSignerDidNotSign() external {
        IReadingDisputes.Settlement memory s = _lie();
        _refusesStatement(s, SIGNER + 1);
        sign(s, SIGNER);
        uint256 half = uint256(s.vs) & uint256(type(int256).max);
        s.vs = bytes32(SECP_ORDER - half);
        _refusesStatement(s, 0); // the twin with high s
        sign(s, SIGNER);
        s.vs ^= bytes32(uint256(1) << 255);
        _refusesStatement(s, 0); // the other parity
        (s.r, s.vs) = (0, 0);
        _refusesStatement(s, 0);
        sign(s, SIGNER);
        s.readingsRoot = "another";
        _refusesStatement(s, 0);
    }

    function testAStatementOfAnotherLedgerOrChain() external {
        IReadingDisputes.Settlement memory s = _lie();
        ReadingDisputes ours = disputes;
        disputes = newDisputes(newLedger());
        sign(s, SIGNER);
        disputes = ours;
        _refusesStatement(s, 0);
        sign(s, SIGNER);
        VM.chainId(block.chainid + 1);
        _refusesStatement(s, 0);
    }

    /* READINGS */

    function testAReadingThatTheMeterDidNotSign() external {
        Tree memory known = tree(SOLD_WH);
        uint256 other = packReading(END, 2, 0, 0);
        _refusesReadings(known, signReading(METER, known.readings[1]), signReading(CAROL, other));
        _refusesReadings(known, signReading(CAROL, known.readings[1]), signReading(METER, other));
        _refusesReadings(known, "", signReading(METER, other));
        _refusesReadings(known, signReading(METER, known.readings[1]), "");
    }

    function testAReadingOfAnotherLedger() external {
        Tree memory known = tree(SOLD_WH);
        IReadingDisputes.Settlement memory statement = stated(known, "rows");
        IReadingDisputes.SettledReading memory reading = settled(known, 1);
        uint256 other = packReading(END, 2, 0, 0);
        ledger = newLedger(); // the domain that `signReading` signs in
        bytes memory foreign = signReading(METER, other);
        uint256 deviceId = deviceOf(METER);
        VM.prank(finder);
        VM.expectRevert(
            abi.encodeWithSelector(IReadingDisputes.ReadingNotSigned.selector, deviceId, other)
        );
        disputes.disputeMeter(statement, deviceId, reading, other, foreign);
    }

    function testAReadingThatIsNotInTheTree() external {
        Tree memory known = tree(SOLD_WH);
        IReadingDisputes.Settlement memory statement = stated(known, "rows");
        known.readings[1] = packReading(END, 2, 1, 1);
        uint256 other = packReading(END, 2, 0, 0);
        refusesAccusation(statement, known, 1, other, _notInTree(known.readings[1]));
    }

    function testWrongProofs() external {
        Tree memory known = tree(SOLD_WH);
        bytes32[] memory path = pathOf(known, 1);
        _refusesProof(known, new bytes32[](0));
        _refusesProof(known, pathOf(known, 0));
        bytes32[] memory shorter = new bytes32[](path.length - 1);
        bytes32[] memory longer = new bytes32[](path.length + 1);
        for (uint256 i; i < path.length; ++i) {
            if (i + 1 < path.length) shorter[i] = path[i];
            longer[i] = path[i];
        }
        _refusesProof(known, shorter);
        _refusesProof(known, longer);
        path[0] ^= bytes32(uint256(1));
        _refusesProof(known, path);
    }

    function testNeitherADigestNorAnInnerNodeIsALeaf() external {
        // Trees of digests, or of leaves hashed once, whose hashes could be taken for inner nodes.
        Tree memory known = tree(SOLD_WH);
        for (uint256 i; i < known.keys.length; ++i) {
            known.leaves[i] = readingDigest(deviceOf(known.keys[i]), known.readings[i], 0, 0);
        }
        uint256 other = packReading(END, 2, 0, 0);
        bytes memory why = _notInTree(known.readings[1]);
        refusesAccusation(known, 1, other, why);
        for (uint256 i; i < known.keys.length; ++i) {
            bytes32 tag = keccak256("energy-trade/reading/2");
            bytes memory signature = signReading(known.keys[i], known.readings[i]);
            (bytes32 r, bytes32 s) = abi.decode(signature, (bytes32, bytes32));
            known.leaves[i] = keccak256(abi.encode(tag, known.leaves[i], r, s));
        }
        refusesAccusation(known, 1, other, why);
    }

    function testReadingsAcrossAResetAreNoEvidence() external {
        uint256 fresh = packReading(END + 60, 1, 0, 0);
        Tree memory known = tree(SOLD_WH);
        reset(METER, ALICE, fresh);
        uint256[2] memory honest = [packReading(END + 60, 1, 0, 0), packReading(END + 900, 2, 3, 4)];
        VM.warp(END + 900);
        for (uint256 i; i < honest.length; ++i) {
            refusesAccusation(
                known,
                1,
                honest[i],
                abi.encodeWithSelector(
                    IReadingDisputes.ReadingsDoNotContradict.selector, known.readings[1], honest[i]
                )
            );
        }
    }

    /* LIES THAT ARE NONE */

    function testOtherRows() external {
        IReadingDisputes.Settlement memory s = _lie();
        bytes memory settledRows = rows;
        rows[47] = 0x01; // more metered in the first row
        _refuses(s, spans(tree(LYING)), _badRows());
        rows = bytes.concat(settledRows, hex"01"); // and the begin of another
        s.batchHash = keccak256(rows);
        sign(s, SIGNER);
        _refuses(s, spans(tree(LYING)), _badRows());
    }

    function testWhatIsNoBatchCannotBeReadAsOne() external {
        // As the rows of a correction, ABI-encoded, begin: with zeros.
        IReadingDisputes.Settlement memory s = _lie();
        rows = bytes.concat(new bytes(159), rows);
        s.batchHash = keccak256(rows);
        sign(s, SIGNER);
        _refuses(s, spans(tree(LYING)), _badRows());
    }

    function testPurchasesMintNothing() external {
        IReadingDisputes.Settlement memory s = _lie();
        Tree memory known = tree(LYING);
        IReadingDisputes.MeterSpan[] memory meters = new IReadingDisputes.MeterSpan[](1);
        meters[0] = span(known, 2);
        VM.prank(finder);
        VM.expectRevert(abi.encodeWithSelector(IReadingDisputes.MintIsCovered.selector, bob, 0, 0));
        disputes.disputeSettlement(s, rows, bob, meters);
    }

    function testAnOmittedMeter() external {
        register(METER + 1, ALICE); // it may have given what the other did not
        IReadingDisputes.Settlement memory s = _lie();
        _refuses(
            s,
            spans(tree(LYING)),
            abi.encodeWithSelector(IReadingDisputes.MetersIncomplete.selector, alice, 1, 2)
        );
        VM.prank(alice);
        registry.revokeMeter(deviceOf(METER + 1));
        _refuses(
            s,
            new IReadingDisputes.MeterSpan[](0),
            abi.encodeWithSelector(IReadingDisputes.MetersIncomplete.selector, alice, 0, 2)
        );
    }

    function testAMeterGivenTwice() external {
        register(METER + 1, ALICE);
        IReadingDisputes.Settlement memory s = _lie();
        IReadingDisputes.MeterSpan[] memory twice = new IReadingDisputes.MeterSpan[](2);
        twice[0] = twice[1] = span(tree(LYING), 0);
        bytes4 why = IReadingDisputes.MetersNotAscending.selector;
        _refuses(s, twice, abi.encodeWithSelector(why, deviceOf(METER)));
        rotate(METER, METER + 7, ALICE);
        Tree memory known = tree(LYING);
        known.keys[2] = known.keys[3] = METER + 7;
        known = tree(known.keys, known.readings);
        twice[0] = span(known, 0);
        twice[1] = span(known, 2);
        _refuses(stated(known, rows), twice, abi.encodeWithSelector(why, deviceOf(METER + 7)));
    }

    function testAnothersMeter() external {
        IReadingDisputes.Settlement memory s = _lie();
        IReadingDisputes.MeterSpan[] memory meters = new IReadingDisputes.MeterSpan[](1);
        meters[0] = span(tree(LYING), 2);
        _refuses(
            s,
            meters,
            abi.encodeWithSelector(
                IReadingDisputes.MeterNotOfAccount.selector, deviceOf(BOBS_METER), alice
            )
        );
    }

    function testASpanOfTwoMeters() external {
        IReadingDisputes.Settlement memory s = _lie();
        Tree memory known = tree(LYING);
        IReadingDisputes.MeterSpan[] memory meters = spans(known);
        meters[0].closing = settled(known, 3);
        _refuses(s, meters, _notInTree(known.readings[3]));
        meters = spans(known);
        meters[0].opening = settled(known, 2);
        _refuses(s, meters, _notInTree(known.readings[2]));
    }

    function testASpanShorterThanTheInterval() external {
        _settle();
        Tree memory known = tree(0);
        known.readings[0] += 1 << 216;
        _refusesSpan(known, START + 1, END);
        known.readings[0] -= 1 << 216;
        known.readings[1] -= 1 << 216;
        _refusesSpan(known, START, END - 1);
    }

    function testASpanAcrossAReset() external {
        IReadingDisputes.Settlement memory s = _lie();
        reset(METER, ALICE, packReading(START + 60, 7, 0, 0));
        _refuses(
            s,
            spans(tree(LYING)),
            abi.encodeWithSelector(IReadingDisputes.SpanAcrossReset.selector, deviceOf(METER))
        );
    }

    function testASpanThatFalls() external {
        _settle();
        Tree memory known = tree(0);
        known.readings[1] = packReading(END, 2, 700, OPENING_WH - 1);
        known = tree(known.keys, known.readings);
        _refuses(
            stated(known, rows),
            spans(known),
            abi.encodeWithSelector(
                IReadingDisputes.SpanFalls.selector, deviceOf(METER), OPENING_WH, OPENING_WH - 1
            )
        );
    }

    function testAMisshapenReadingInTheTree() external {
        IReadingDisputes.Settlement memory s = _lie();
        IReadingDisputes.MeterSpan[] memory meters = spans(tree(LYING));
        meters[0].closing.reading |= 1;
        _refuses(s, meters, _notInTree(meters[0].closing.reading));
        meters = spans(tree(LYING));
        meters[0].closing.signature = bytes.concat(meters[0].closing.signature, hex"00");
        _refuses(s, meters, _notInTree(meters[0].closing.reading));
    }

    function testABatchThatIsNotOnTheLedger() external {
        // Its meters' registrations may be on their way still.
        rows = "rows";
        Tree memory known = tree(LYING);
        _refuses(stated(known, rows), spans(known), _notOnLedger(START));
        settleTrade(uint48(SOLD_WH));
        IReadingDisputes.Settlement memory s = stated(known, rows);
        uint64[3] memory starts = [START - INTERVAL_S, END, GENESIS - 96 * INTERVAL_S];
        for (uint256 i; i < starts.length; ++i) {
            s.deliveryStart = starts[i];
            sign(s, SIGNER);
            _refuses(s, spans(known), _notOnLedger(starts[i]));
        }
    }

    /* MONEY */

    function testATokenThatCallsBack() external {
        CallbackToken odd = new CallbackToken();
        disputes = newDisputes(newLedger(address(odd)));
        IReadingDisputes.Settlement memory s;
        IReadingDisputes.SettledReading memory reading;
        bytes[7] memory calls = [
            abi.encodeCall(disputes.postBond, (carol, 1)),
            abi.encodeCall(disputes.requestBondWithdrawal, (1)),
            abi.encodeCall(disputes.withdrawBond, (carol)),
            abi.encodeCall(disputes.collectForfeits, ()),
            abi.encodeCall(disputes.disputeMeter, (s, 1, reading, 1, "")),
            abi.encodeCall(disputes.disputeReading, (s, 1, reading)),
            abi.encodeCall(
                disputes.disputeSettlement, (s, "", carol, new IReadingDisputes.MeterSpan[](0))
            )
        ];
        odd.mint(address(this), 100);
        odd.approve(address(disputes), 100);
        bytes memory refused =
            abi.encodeWithSelector(ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector);
        for (uint256 i; i < calls.length; ++i) {
            odd.callBack(address(disputes), calls[i]);
            disputes.postBond(alice, 10);
            VM.assertEq(keccak256(odd.answer()), keccak256(refused), "refused");
        }
        VM.assertEq(bondOf(alice), 70, "credited once each");
    }

    function testATokenThatKeepsAFee() external {
        FeeToken odd = new FeeToken();
        disputes = newDisputes(newLedger(address(odd)));
        odd.mint(address(this), 1000);
        odd.approve(address(disputes), 1000);
        VM.assertEq(disputes.postBond(alice, 1000), 990, "what arrived");
        VM.assertEq(bondOf(alice), 990, "is the bond");
        VM.assertEq(odd.balanceOf(address(disputes)), 990, "and is there");
    }

    function testATokenThatSaysFalse() external {
        FalseToken odd = new FalseToken();
        disputes = newDisputes(newLedger(address(odd)));
        odd.mint(address(this), 20);
        odd.approve(address(disputes), 20);
        disputes.postBond(address(this), 10);
        disputes.requestBondWithdrawal(10);
        VM.warp(block.timestamp + BOND_DELAY_S);
        odd.refuse(true);
        bytes memory why =
            abi.encodeWithSelector(SafeERC20.SafeERC20FailedOperation.selector, address(odd));
        VM.expectRevert(why);
        disputes.postBond(address(this), 10);
        VM.expectRevert(why);
        disputes.withdrawBond(carol);
        VM.assertEq(bondOf(address(this)), 10, "nothing happened");
    }

    /* HELP */

    function _settle() private {
        rows = settleTrade(uint48(SOLD_WH));
    }

    /// @dev 1000 Wh of Alice's are settled, and her registers rose by 7.
    function _lie() private returns (IReadingDisputes.Settlement memory) {
        _settle();
        return stated(tree(LYING), rows);
    }

    function _prove(
        IReadingDisputes.Settlement memory statement,
        IReadingDisputes.MeterSpan[] memory meters
    ) private {
        VM.prank(finder);
        VM.assertEq(disputes.disputeSettlement(statement, rows, alice, meters), BOUNTY, "proven");
    }

    function _refuses(
        IReadingDisputes.Settlement memory statement,
        IReadingDisputes.MeterSpan[] memory meters,
        bytes memory why
    ) private {
        VM.prank(finder);
        VM.expectRevert(why);
        disputes.disputeSettlement(statement, rows, alice, meters);
    }

    /// @dev Signed by another key, unless that is 0, in the operator's name.
    function _refusesStatement(IReadingDisputes.Settlement memory s, uint256 key) private {
        if (key != 0) sign(s, key);
        s.signer = operator;
        bytes memory why =
            abi.encodeWithSelector(IReadingDisputes.SettlementSignatureInvalid.selector, operator);
        _refuses(s, spans(tree(LYING)), why);
        refusesAccusation(s, tree(LYING), 1, packReading(END, 2, 0, 0), why);
    }

    function _refusesReadings(Tree memory known, bytes memory first, bytes memory second) private {
        IReadingDisputes.Settlement memory statement = stated(known, "rows");
        IReadingDisputes.SettledReading memory reading = settled(known, 1);
        reading.signature = first;
        uint256 deviceId = deviceOf(METER);
        VM.prank(finder);
        VM.expectPartialRevert(IReadingDisputes.ReadingNotSigned.selector);
        disputes.disputeMeter(statement, deviceId, reading, packReading(END, 2, 0, 0), second);
    }

    function _refusesProof(Tree memory known, bytes32[] memory path) private {
        IReadingDisputes.Settlement memory statement = stated(known, "rows");
        IReadingDisputes.SettledReading memory reading = settled(known, 1);
        reading.proof = path;
        uint256 other = packReading(END, 2, 0, 0);
        bytes memory signature = signReading(METER, other);
        uint256 deviceId = deviceOf(METER);
        VM.prank(finder);
        VM.expectRevert(_notInTree(known.readings[1]));
        disputes.disputeMeter(statement, deviceId, reading, other, signature);
    }

    function _refusesSpan(Tree memory known, uint256 openedAt, uint256 closedAt) private {
        known = tree(known.keys, known.readings);
        _refuses(
            stated(known, rows),
            spans(known),
            abi.encodeWithSelector(
                IReadingDisputes.SpanTooShort.selector, deviceOf(METER), openedAt, closedAt
            )
        );
    }

    function _notInTree(uint256 reading) private pure returns (bytes memory) {
        return abi.encodeWithSelector(
            IReadingDisputes.ReadingNotInSettlement.selector, deviceOf(METER), reading
        );
    }

    function _notOnLedger(uint64 start) private view returns (bytes memory) {
        return abi.encodeWithSelector(IReadingDisputes.SettlementNotOnLedger.selector, alice, start);
    }

    function _badRows() private view returns (bytes memory) {
        return
            abi.encodeWithSelector(
                IReadingDisputes.RowsInvalid.selector, keccak256(rows), rows.length
            );
    }
}
