// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {AccountWord, AccountWordLibrary} from "../../src/types/AccountWord.sol";
import {Certificate, CertificateLibrary} from "../../src/types/Certificate.sol";
import {OrderRow} from "../../src/types/OrderRow.sol";
import {PackedReading} from "../../src/types/PackedReading.sol";
import {Batches, TestOrder} from "../base/Batches.sol";
import {VM} from "../base/Vm.sol";

/// @title TypesFuzz: what is packed is what is unpacked, to the fields' limits
contract TypesFuzz {
    function testFuzzAccountWord(
        uint8 flags,
        uint64 energy,
        uint64 money,
        uint24 latest,
        uint96 used
    ) external pure {
        uint256 replay = uint256(latest) << 96 | uint256(used);
        AccountWord word = AccountWordLibrary.pack(uint256(flags) << 248, energy, money, replay);
        VM.assertEq(word.flags(), flags, "flags");
        VM.assertEq(word.flagBits(), uint256(flags) << 248, "flags where they lie");
        VM.assertEq(word.energyWh(), energy, "energy");
        VM.assertEq(word.moneyMicro(), money, "money");
        VM.assertEq(word.replay(), replay, "replay");
        VM.assertEq(word.latestInterval(), latest, "latest");
        VM.assertEq(word.usedIntervals(), used, "intervals");
    }

    function testFuzzCertificate(
        uint256 deviceId,
        uint40 start,
        uint16 durationS,
        uint8 source,
        uint16 serial,
        bool stored,
        uint48 wh
    ) external pure {
        Certificate id = CertificateLibrary.pack(
            deviceId, start, durationS, source, serial, stored, wh
        );
        VM.assertEq(id.device(), deviceId >> 136, "device");
        VM.assertEq(id.intervalStart(), start, "start");
        VM.assertEq(id.durationS(), durationS, "duration");
        VM.assertEq(uint256(id.source()), source, "source");
        VM.assertEq(id.serial(), serial, "serial");
        VM.assertTrue(id.isStored() == stored, "storage");
        VM.assertEq(id.energyWh(), wh, "energy");
    }

    function testFuzzPackedReading(
        uint40 timestamp,
        uint40 sequence,
        uint64 consumption,
        uint64 production,
        uint16 flags,
        uint32 rest
    ) external pure {
        PackedReading reading = PackedReading.wrap(
            uint256(
                bytes32(abi.encodePacked(timestamp, sequence, consumption, production, flags, rest))
            )
        );
        VM.assertEq(reading.timestamp(), timestamp, "timestamp");
        VM.assertEq(reading.sequence(), sequence, "sequence");
        VM.assertEq(reading.consumptionWh(), consumption, "consumption");
        VM.assertEq(reading.productionWh(), production, "production");
        VM.assertEq(reading.flags(), flags, "flags");
        VM.assertTrue(reading.isCanonical() == (rest == 0), "canonical");
    }

    function testFuzzOrderRow(address account, TestOrder calldata order, bytes32 r, bytes32 vs)
        external
        view
    {
        this.checkRow(Batches.encode(account, order, r, vs), account, order, r, vs);
    }

    function checkRow(
        bytes calldata packed,
        address account,
        TestOrder calldata order,
        bytes32 r,
        bytes32 vs
    ) external pure {
        OrderRow row;
        assembly ("memory-safe") {
            row := packed.offset
        }
        VM.assertEq(row.account(), account, "account");
        VM.assertEq(row.side(), order.side, "side");
        VM.assertEq(row.limitMicroPerKwh(), order.limit, "limit");
        VM.assertEq(row.amounts() >> 208, order.signedWh, "signed");
        VM.assertEq(uint256(uint48(row.amounts() >> 160)), order.executedWh, "executed");
        VM.assertEq(uint256(uint48(row.amounts() >> 112)), order.shortWh, "short");
        VM.assertEq(uint256(uint48(row.amounts() >> 64)), order.meteredWh, "metered");
        VM.assertEq(int256(int64(uint64(row.amounts()))), order.value, "value");
        VM.assertEq(row.trades(), order.trades, "trades");
        VM.assertEq(row.termsHash(), order.terms, "terms");
        VM.assertEq(row.r(), r, "r");
        VM.assertEq(row.vs(), vs, "vs");
    }
}
