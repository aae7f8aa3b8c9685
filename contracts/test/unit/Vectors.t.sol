// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {EnergyLedger} from "../../src/EnergyLedger.sol";
import {SmartMeterRegistry} from "../../src/SmartMeterRegistry.sol";
import {CompactSignature} from "../../src/libraries/CompactSignature.sol";
import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";

import {Community} from "../base/Community.sol";
import {VM} from "../base/Vm.sol";

/// @title VectorsTest: the golden vectors that Python, Solidity and the dashboard share
/// @dev The ledger's code stands at the vectors' ledger address; OpenZeppelin's EIP712 then makes
/// the domain of that address.
contract VectorsTest is Community {
    string private json;

    function setUp() public override {
        super.setUp();
        json = VM.readFile("../tests/cases/protocol_vectors.json");
        VM.chainId(_uint(".domain.chain_id"));
        address place = VM.parseJsonAddress(json, ".domain.ledger");
        VM.etch(place, address(ledger).code);
        ledger = EnergyLedger(place);
    }

    function testDomain() external view {
        VM.assertEq(ledger.domainSeparator(), _bytes32(".domain.separator"), "separator");
        VM.assertEq(ledger.marketHash(), _bytes32(".market_hash"), "market");
    }

    function testOrders() external view {
        uint256 count;
        for (string memory at = _item("orders", 0); VM.keyExistsJson(json, at);) {
            bytes32 digest = ledger.orderDigest(
                _address(at, ".message.account"),
                uint64(_uint(string.concat(at, ".message.delivery_start"))),
                uint8(_uint(string.concat(at, ".side"))),
                uint64(_uint(string.concat(at, ".message.energy_wh"))),
                int64(VM.parseJsonInt(json, string.concat(at, ".signed_limit"))),
                _bytes32(string.concat(at, ".terms_hash"))
            );
            VM.assertEq(digest, _bytes32(string.concat(at, ".digest")), at);
            _signedBy(at, digest);
            at = _item("orders", ++count);
        }
        VM.assertGe(count, 4, "orders were read");
    }

    function testRegistrationsAndReadings() external {
        SmartMeterRegistry meters = new SmartMeterRegistry(address(authority), ledger);
        bytes4[] memory selectors = new bytes4[](1);
        selectors[0] = SmartMeterRegistry.registerMeter.selector;
        authority.setTargetFunctionRole(address(meters), selectors, 1);
        _registers(meters, ".registrations[0]");
        uint256 count;
        for (string memory at = _item("readings", 0); VM.keyExistsJson(json, at);) {
            _submits(meters, at);
            at = _item("readings", ++count);
        }
        VM.assertGe(count, 2, "readings were read");
    }

    function testMerkleProofs() external view {
        uint256 count;
        for (string memory at = _item("merkle", 0); VM.keyExistsJson(json, at);) {
            bytes32 root = _bytes32(string.concat(at, ".root"));
            string[] memory leaves = VM.parseJsonStringArray(json, string.concat(at, ".leaves"));
            for (uint256 i; i < leaves.length; ++i) {
                string memory which = string.concat("[", VM.toString(i), "]");
                bytes32 leaf = _bytes32(string.concat(at, ".leaves", which));
                bytes32[] memory proof = _proof(string.concat(at, ".proofs", which));
                VM.assertTrue(MerkleProof.verify(proof, root, leaf), at);
            }
            at = _item("merkle", ++count);
        }
        VM.assertGe(count, 3, "trees were read");
    }

    function _registers(SmartMeterRegistry meters, string memory at) private {
        bytes memory key = VM.parseJsonBytes(json, string.concat(at, ".message.public_key"));
        (bytes32 x, bytes32 y) = abi.decode(key, (bytes32, bytes32));
        bytes memory proof = abi.encode(
            x,
            y,
            _address(at, ".message.account"),
            uint32(_uint(string.concat(at, ".message.import_limit_w"))),
            uint32(_uint(string.concat(at, ".message.export_limit_w"))),
            VM.parseJsonBytes(json, string.concat(at, ".meter_signature")),
            VM.parseJsonBytes(json, string.concat(at, ".compact_signature"))
        );
        uint256 deviceId = uint256(_bytes32(string.concat(at, ".message.device_id")));
        VM.prank(operator);
        VM.assertTrue(meters.registerMeter(deviceId, proof), at);
    }

    function _submits(SmartMeterRegistry meters, string memory at) private {
        string memory message = string.concat(at, ".message");
        uint256 deviceId = uint256(_bytes32(string.concat(message, ".device_id")));
        uint256 reading = packReading(
            _uint(string.concat(message, ".timestamp")),
            _uint(string.concat(message, ".sequence")),
            _uint(string.concat(message, ".consumption_wh")),
            _uint(string.concat(message, ".production_wh"))
        ) | _uint(string.concat(message, ".flags")) << 32;
        bytes32 previous = _bytes32(string.concat(message, ".previous"));
        bytes32 samples = _bytes32(string.concat(message, ".samples"));
        bytes32 digest = readingDigest(deviceId, reading, previous, samples);
        VM.assertEq(digest, _bytes32(string.concat(at, ".digest")), at);
        bytes memory signature = bytes.concat(
            VM.parseJsonBytes(json, string.concat(at, ".signature")), previous, samples
        );
        VM.assertTrue(meters.verifyReading(deviceId, reading, signature), at);
        VM.assertTrue(meters.submitReading(deviceId, reading, signature), at);
    }

    function _signedBy(string memory at, bytes32 digest) private view {
        bytes memory compact = VM.parseJsonBytes(json, string.concat(at, ".compact_signature"));
        (bytes32 r, bytes32 vs) = abi.decode(compact, (bytes32, bytes32));
        VM.assertTrue(CompactSignature.isBy(_address(at, ".signer"), digest, r, vs), at);
    }

    function _proof(string memory at) private view returns (bytes32[] memory proof) {
        string[] memory nodes = VM.parseJsonStringArray(json, at);
        proof = new bytes32[](nodes.length);
        for (uint256 i; i < nodes.length; ++i) {
            proof[i] = _bytes32(string.concat(at, "[", VM.toString(i), "]"));
        }
    }

    function _item(string memory list, uint256 index) private pure returns (string memory) {
        return string.concat(".", list, "[", VM.toString(index), "]");
    }

    function _uint(string memory at) private view returns (uint256) {
        return VM.parseJsonUint(json, at);
    }

    function _bytes32(string memory at) private view returns (bytes32) {
        return VM.parseJsonBytes32(json, at);
    }

    function _address(string memory at, string memory field) private view returns (address) {
        return VM.parseJsonAddress(json, string.concat(at, field));
    }
}
