// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {IReadingDisputes} from "../../src/interfaces/IReadingDisputes.sol";
import {Disputes, Tree} from "../base/Disputes.sol";
import {VM} from "../base/Vm.sol";

/// @title InventedReadingAttacks: no honest signer loses its bond to `disputeReading`, no liar keeps it
contract InventedReadingAttacks is Disputes {
    uint256 private constant P256_ORDER =
        0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551;
    uint256 private constant SECP_METER = 0x5EC9;

    /* HONEST SIGNERS */

    function testWhatMetersSignedIsNoInvention() external {
        Tree memory known = tree(SOLD_WH);
        for (uint256 i; i < 4; ++i) {
            _refuses(known, i, _signed(known, i));
        }
    }

    function testAMeterThatTheRegistryDoesNotKnow() external {
        // Its registration may be on its way, or it is none of the ledger's at all.
        Tree memory known = tree(SOLD_WH);
        bytes memory why = abi.encodeWithSelector(
            IReadingDisputes.MeterUnregistered.selector, deviceOf(METER + 99)
        );
        _refuses(known, 4, why);
        _refusesWith(known, 4, invented(known, 4, new bytes(128)), why);
        known = tree(SOLD_WH);
        register(METER + 99, CAROL);
        _refuses(known, 4, _signed(known, 4));
    }

    function testNeitherRotationNorRevocationNorSuspensionMakesAnInvention() external {
        Tree memory known = tree(SOLD_WH);
        rotate(METER, METER + 7, ALICE);
        _refuses(known, 1, _signed(known, 1));
        suspend(deviceOf(METER));
        _refuses(known, 1, _signed(known, 1));
        VM.prank(bob);
        registry.revokeMeter(deviceOf(BOBS_METER));
        _refuses(known, 3, _signed(known, 3));
        VM.prank(alice);
        registry.revokeMeter(deviceOf(METER + 7));
        known.keys[1] = METER + 7;
        known = tree(known.keys, known.readings);
        _refuses(known, 0, _signed(known, 0));
        _refuses(known, 1, _signed(known, 1));
    }

    function testAReadingIsOfTheKeyThatItNames() external {
        // What the old key signed, said to be the new key's, which did not sign it.
        Tree memory known = tree(SOLD_WH);
        rotate(METER, METER + 7, ALICE);
        IReadingDisputes.Settlement memory statement = stated(known, "rows");
        IReadingDisputes.SettledReading memory reading = settled(known, 1);
        uint256[2] memory devices = [deviceOf(METER + 7), deviceOf(BOBS_METER)];
        for (uint256 i; i < devices.length; ++i) {
            _refuses(statement, devices[i], reading, _notInTree(devices[i], known.readings[1]));
        }
    }

    function testAnotherSignatureThanTheTreeHolds() external {
        Tree memory known = tree(SOLD_WH);
        IReadingDisputes.SettledReading memory reading = settled(known, 1);
        (bytes32 r, uint256 s, bytes32 previous, bytes32 samples) =
            abi.decode(reading.signature, (bytes32, uint256, bytes32, bytes32));
        bytes[6] memory others = [
            new bytes(128),
            signReading(BOBS_METER, known.readings[1]),
            abi.encode(r, P256_ORDER - s, previous, samples), // the twin with high s
            abi.encode(r ^ bytes32(uint256(1)), s, previous, samples),
            abi.encode(r, s, bytes32(uint256(1)), samples),
            abi.encode(r, s, previous, bytes32(uint256(1)))
        ];
        for (uint256 i; i < others.length; ++i) {
            reading.signature = others[i];
            _refusesWith(known, 1, reading, _notInTree(deviceOf(METER), known.readings[1]));
        }
    }

    function testMisshapenSignaturesAndReadings() external {
        Tree memory known = tree(SOLD_WH);
        IReadingDisputes.SettledReading memory reading = settled(known, 1);
        bytes memory good = reading.signature;
        (bytes32 r, bytes32 s) = abi.decode(good, (bytes32, bytes32));
        bytes[4] memory others =
            [bytes(""), abi.encode(r, s), bytes.concat(good, hex"00"), bytes.concat(good, r)];
        bytes memory why = _notInTree(deviceOf(METER), known.readings[1]);
        for (uint256 i; i < others.length; ++i) {
            reading.signature = others[i];
            _refusesWith(known, 1, reading, why);
        }
        reading.signature = good;
        reading.reading |= 1; // the registry says of such a word that nobody signed it
        _refusesWith(known, 1, reading, _notInTree(deviceOf(METER), reading.reading));
    }

    function testAReadingThatIsNotInTheTree() external {
        Tree memory known = tree(SOLD_WH);
        IReadingDisputes.Settlement memory statement = stated(known, "rows");
        IReadingDisputes.SettledReading memory reading = invented(tree(0), 1, new bytes(128));
        _refuses(statement, deviceOf(METER), reading, _notInTree(deviceOf(METER), reading.reading));
        reading.proof = new bytes32[](0);
        _refuses(statement, deviceOf(METER), reading, _notInTree(deviceOf(METER), reading.reading));
    }

    /// @dev Keys that bring sums of points to infinity, and chains that have no precompile.
    function testTheFallbackKnowsEveryKey() external {
        uint256[7] memory keys =
            [1, 2, 3, P256_ORDER - 1, P256_ORDER - 2, P256_ORDER - 3, P256_ORDER / 2];
        VM.setEvmVersion("prague");
        for (uint256 i; i < keys.length; ++i) {
            register(keys[i], ALICE);
            for (uint256 wh; wh < 3; ++wh) {
                Tree memory known = tree(wh);
                known.keys[1] = keys[i];
                known = tree(known.keys, known.readings);
                _refuses(known, 1, _signed(known, 1));
            }
        }
        Tree memory made = tree(SOLD_WH);
        IReadingDisputes.SettledReading memory reading = invented(made, 1, new bytes(128));
        _proves(stated(made, "rows"), deviceOf(METER), reading);
    }

    function testSecp256k1Meters() external {
        uint256 deviceId = _registerSecp();
        uint256 word = packReading(END, 2, 700, OPENING_WH);
        bytes memory signature = signSecpReading(SECP_METER, deviceId, word);
        IReadingDisputes.SettledReading memory reading =
            IReadingDisputes.SettledReading(word, signature, new bytes32[](0));
        _refuses(
            _only(deviceId, reading),
            deviceId,
            reading,
            abi.encodeWithSelector(IReadingDisputes.ReadingIsSigned.selector, deviceId, word)
        );
        reading.signature = signSecpReading(CAROL, deviceId, word);
        _proves(_only(deviceId, reading), deviceId, reading);
    }

    /// @dev A check that runs out of gas says nothing about a signature.
    function testLittleGasMakesNoInvention() external {
        Tree memory known = tree(SOLD_WH);
        _starves(stated(known, "rows"), deviceOf(METER), settled(known, 1), 2_000);
        uint256 deviceId = _registerSecp();
        uint256 word = packReading(END, 2, 700, OPENING_WH);
        bytes memory signature = signSecpReading(SECP_METER, deviceId, word);
        IReadingDisputes.SettledReading memory reading =
            IReadingDisputes.SettledReading(word, signature, new bytes32[](0));
        _starves(_only(deviceId, reading), deviceId, reading, 100);
        VM.setEvmVersion("prague");
        _starves(stated(known, "rows"), deviceOf(METER), settled(known, 1), 6_000);
    }

    /* LIARS */

    function testTheSignerCannotAccuseItself() external {
        Tree memory made = tree(SOLD_WH);
        IReadingDisputes.SettledReading memory reading = invented(made, 1, new bytes(128));
        IReadingDisputes.Settlement memory statement = stated(made, "rows");
        uint256 deviceId = deviceOf(METER);
        VM.prank(operator);
        VM.expectRevert(abi.encodeWithSelector(IReadingDisputes.SelfDispute.selector, operator));
        disputes.disputeReading(statement, deviceId, reading);
        uint256 before = bondOf(operator) + currency.balanceOf(finder);
        _proves(statement, deviceId, reading);
        VM.assertEq(bondOf(operator) + currency.balanceOf(finder), before - BOUNTY, "lost");
    }

    function testAStatementPaysOnceForAllItsLies() external {
        bytes memory rows = settleTrade(uint48(SOLD_WH));
        Tree memory made = tree(7);
        IReadingDisputes.SettledReading memory bobs = invented(made, 3, new bytes(128));
        IReadingDisputes.Settlement memory statement = stated(made, rows);
        IReadingDisputes.MeterSpan[] memory meters = spans(made);
        bytes memory why = abi.encodeWithSelector(
            IReadingDisputes.SettlementAlreadyDisputed.selector, operator, START, 0
        );
        uint256 before = VM.snapshotState();
        _proves(statement, deviceOf(BOBS_METER), bobs);
        _refuses(statement, deviceOf(BOBS_METER), bobs, why);
        VM.prank(finder);
        VM.expectRevert(why);
        disputes.disputeSettlement(statement, rows, alice, meters);
        VM.revertToState(before);
        VM.prank(finder);
        disputes.disputeSettlement(statement, rows, alice, meters);
        _refuses(statement, deviceOf(BOBS_METER), bobs, why);
        statement.revision = 1;
        sign(statement, SIGNER);
        _proves(statement, deviceOf(BOBS_METER), bobs);
    }

    function testStatementsThatNobodyAnswersFor() external {
        Tree memory made = tree(SOLD_WH);
        IReadingDisputes.SettledReading memory reading = invented(made, 1, new bytes(128));
        IReadingDisputes.Settlement memory statement = stated(made, "rows");
        sign(statement, CAROL);
        uint256 deviceId = deviceOf(METER);
        _refuses(
            statement,
            deviceId,
            reading,
            abi.encodeWithSelector(IReadingDisputes.SignerUnbonded.selector, carol)
        );
        statement.signer = operator; // who did not sign it
        _refuses(
            statement,
            deviceId,
            reading,
            abi.encodeWithSelector(IReadingDisputes.SettlementSignatureInvalid.selector, operator)
        );
    }

    /* HELP */

    function _proves(
        IReadingDisputes.Settlement memory statement,
        uint256 deviceId,
        IReadingDisputes.SettledReading memory reading
    ) private {
        VM.prank(finder);
        VM.assertEq(disputes.disputeReading(statement, deviceId, reading), BOUNTY, "proven");
    }

    /// @dev The reading as the tree has it.
    function _refuses(Tree memory known, uint256 index, bytes memory why) private {
        _refusesWith(known, index, settled(known, index), why);
    }

    function _refusesWith(
        Tree memory known,
        uint256 index,
        IReadingDisputes.SettledReading memory reading,
        bytes memory why
    ) private {
        _refuses(stated(known, "rows"), deviceOf(known.keys[index]), reading, why);
    }

    function _refuses(
        IReadingDisputes.Settlement memory statement,
        uint256 deviceId,
        IReadingDisputes.SettledReading memory reading,
        bytes memory why
    ) private {
        VM.prank(finder);
        VM.expectRevert(why);
        disputes.disputeReading(statement, deviceId, reading);
    }

    function _starves(
        IReadingDisputes.Settlement memory statement,
        uint256 deviceId,
        IReadingDisputes.SettledReading memory reading,
        uint256 step
    ) private {
        for (uint256 i = 1; i <= 200; ++i) {
            VM.prank(finder);
            try disputes.disputeReading{gas: i * step}(statement, deviceId, reading) {
                VM.assertTrue(false, "an honest signer pays");
            } catch {}
        }
        VM.assertEq(bondOf(operator), 10 * BOUNTY, "nothing lost");
    }

    /// @dev A statement about a tree that holds this reading only.
    function _only(uint256 deviceId, IReadingDisputes.SettledReading memory reading)
        private
        view
        returns (IReadingDisputes.Settlement memory statement)
    {
        statement = stated(tree(0), "rows");
        statement.readingsRoot = leafOf(deviceId, reading.reading, reading.signature);
        sign(statement, SIGNER);
    }

    function _registerSecp() private returns (uint256 deviceId) {
        (uint256 x, uint256 y) = pointOf(SECP_METER);
        deviceId = secpDeviceOf(SECP_METER);
        bytes memory proof = secpProof(x, y, ALICE, _signsSecp);
        VM.prank(operator);
        registry.registerMeter(deviceId, proof);
    }

    function _signsSecp(bytes32 digest) private pure returns (bytes memory) {
        return accountSigns(SECP_METER, digest);
    }

    function _signed(Tree memory known, uint256 index) private pure returns (bytes memory) {
        return abi.encodeWithSelector(
            IReadingDisputes.ReadingIsSigned.selector,
            deviceOf(known.keys[index]),
            known.readings[index]
        );
    }

    function _notInTree(uint256 deviceId, uint256 reading) private pure returns (bytes memory) {
        return
            abi.encodeWithSelector(
                IReadingDisputes.ReadingNotInSettlement.selector, deviceId, reading
            );
    }
}
