// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {IReadingDisputes} from "../../src/interfaces/IReadingDisputes.sol";
import {PackedReading} from "../../src/types/PackedReading.sol";
import {Disputes, Tree} from "../base/Disputes.sol";
import {VM} from "../base/Vm.sol";

/// @title DisputesFuzz: honest meters and signers are safe, and no money comes from nowhere
contract DisputesFuzz is Disputes {
    /// @dev Two readings of registers that only rise, under whatever numbers.
    function testFuzzRisingRegistersNeverContradict(
        uint40[2] memory sequences,
        uint40 time,
        uint24 elapsedS,
        uint64[2] memory registers,
        uint32[2] memory rises,
        uint16 flags
    ) external pure {
        uint256 later = uint256(time) + elapsedS;
        uint256 consumption = uint256(registers[0]) + (elapsedS == 0 ? 0 : rises[0]);
        uint256 production = uint256(registers[1]) + (elapsedS == 0 ? 0 : rises[1]);
        if (later > type(uint40).max) return;
        if (consumption > type(uint64).max || production > type(uint64).max) return;
        PackedReading a =
            PackedReading.wrap(packReading(time, sequences[0], registers[0], registers[1]));
        PackedReading b = PackedReading.wrap(
            packReading(later, sequences[1], consumption, production) | uint256(flags) << 32
        );
        VM.assertFalse(a.contradictsEnergy(b), "forwards");
        VM.assertFalse(b.contradictsEnergy(a), "backwards");
    }

    /// @dev Against a second, slower statement of the same.
    function testFuzzContradictions(
        uint8[2] memory times,
        uint8[2] memory sequences,
        uint8[2] memory consumptions,
        uint8[2] memory productions
    ) external pure {
        uint256[2] memory words;
        for (uint256 i; i < 2; ++i) {
            words[i] = packReading(
                times[i] % 4, sequences[i] % 4, consumptions[i] % 4, productions[i] % 4
            );
        }
        int256 time = _sign(times[0] % 4, times[1] % 4);
        int256 consumption = _sign(consumptions[0] % 4, consumptions[1] % 4);
        int256 production = _sign(productions[0] % 4, productions[1] % 4);
        bool energy = time == 0
            ? consumption != 0 || production != 0
            : time * consumption < 0 || time * production < 0;
        int256 sequence = _sign(sequences[0] % 4, sequences[1] % 4);
        PackedReading a = PackedReading.wrap(words[0]);
        PackedReading b = PackedReading.wrap(words[1]);
        VM.assertTrue(a.contradictsEnergy(b) == energy, "energy");
        VM.assertTrue(b.contradictsEnergy(a) == energy, "energy, the other way round");
        VM.assertTrue(a.contradictsOrder(b) == (sequence != time), "order");
        VM.assertTrue(b.contradictsOrder(a) == (sequence != time), "order, the other way round");
    }

    /// forge-config: default.fuzz.runs = 128
    /// @dev A signer pays exactly when it minted more than the registers rose.
    function testFuzzSignersPayForLiesOnly(uint16 minted, uint16 produced) external {
        if (minted == 0) return;
        bytes memory rows = settleTrade(minted);
        Tree memory known = tree(produced);
        IReadingDisputes.Settlement memory statement = stated(known, rows);
        IReadingDisputes.MeterSpan[] memory meters = spans(known);
        VM.prank(finder);
        try disputes.disputeSettlement(statement, rows, alice, meters) {
            VM.assertTrue(minted > produced, "a lie");
            VM.assertEq(bondOf(operator), 8 * BOUNTY, "pays");
        } catch {
            VM.assertTrue(minted <= produced, "the truth");
            VM.assertEq(bondOf(operator), 10 * BOUNTY, "costs nothing");
        }
    }

    /// forge-config: default.fuzz.runs = 128
    /// @dev Whatever a meter signs, its signer is safe, and with any other signature it is not.
    function testFuzzSignersPayForInventionsOnly(uint256 word, uint256 r, uint256 s, bool twin)
        external
    {
        Tree memory known = tree(SOLD_WH);
        known.readings[1] = word >> 32 << 32;
        known = tree(known.keys, known.readings);
        IReadingDisputes.Settlement memory statement = stated(known, "rows");
        IReadingDisputes.SettledReading memory reading = settled(known, 1);
        uint256 deviceId = deviceOf(METER);
        VM.prank(finder);
        VM.expectPartialRevert(IReadingDisputes.ReadingIsSigned.selector);
        disputes.disputeReading(statement, deviceId, reading);
        bytes32 trueR = abi.decode(reading.signature, (bytes32));
        bytes memory other = abi.encode(twin ? uint256(trueR) : r, s, 0, 0);
        if (keccak256(other) == keccak256(reading.signature)) return;
        reading = invented(known, 1, other);
        statement = stated(known, "rows");
        VM.prank(finder);
        VM.assertEq(disputes.disputeReading(statement, deviceId, reading), BOUNTY, "invented");
    }

    /// forge-config: default.fuzz.runs = 128
    /// @dev Whatever the bonds: all money that was posted is a bond, a forfeit or a bounty, and who was
    /// wrong lost at least what others gained.
    function testFuzzForfeitsConserve(uint64 more, uint64 leaving, uint8 index) external {
        bond(bob, uint256(more) + 1);
        uint256 asked = uint256(leaving) % (uint256(more) + 2);
        VM.prank(bob);
        disputes.requestBondWithdrawal(asked);
        uint256 posted = currency.balanceOf(address(disputes));
        accuse(tree(SOLD_WH), index % 2 == 0 ? 1 : 3, packReading(END, 2, 0, 0));
        VM.warp(block.timestamp + BOND_DELAY_S);
        if (asked != 0 && bondOf(bob) != 0) {
            VM.prank(bob);
            disputes.withdrawBond(bob);
        }
        uint256 held = bondOf(alice) + bondOf(bob) + bondOf(operator) + disputes.forfeitsMicro();
        VM.assertEq(currency.balanceOf(address(disputes)), held, "all there");
        uint256 out = currency.balanceOf(finder) + currency.balanceOf(bob);
        VM.assertEq(held + out, posted, "conserved");
        VM.assertTrue(disputes.forfeitsMicro() >= currency.balanceOf(finder), "half at most");
    }

    function _sign(uint256 first, uint256 second) private pure returns (int256) {
        return first == second ? int256(0) : first < second ? int256(1) : -1;
    }
}
