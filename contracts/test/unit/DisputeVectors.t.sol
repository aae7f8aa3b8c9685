// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {EnergyLedger} from "../../src/EnergyLedger.sol";
import {ReadingDisputes} from "../../src/ReadingDisputes.sol";
import {IReadingDisputes} from "../../src/interfaces/IReadingDisputes.sol";
import {CompactSignature} from "../../src/libraries/CompactSignature.sol";
import {ReadingHash} from "../../src/libraries/ReadingHash.sol";
import {Community} from "../base/Community.sol";
import {VM} from "../base/Vm.sol";

/// @title DisputeVectorsTest: the settlers' statements and the leaves of readings
/// among the golden vectors
/// @dev The ledger's code stands at the vectors' ledger address; OpenZeppelin's EIP712 then makes
/// the domain of that address.
contract DisputeVectorsTest is Community {
    string private json;

    function testStatements() external {
        json = VM.readFile("../tests/cases/protocol_vectors.json");
        VM.chainId(VM.parseJsonUint(json, ".domain.chain_id"));
        address place = VM.parseJsonAddress(json, ".domain.ledger");
        VM.etch(place, address(ledger).code);
        disputes = new ReadingDisputes(
            EnergyLedger(place), registry, treasury, BOUNTY_MICRO, BOND_DELAY_S
        );
        uint256 count;
        for (string memory at = _item(0); VM.keyExistsJson(json, at);) {
            IReadingDisputes.Settlement memory statement = _statement(at);
            bytes32 digest = disputes.settlementDigest(statement);
            VM.assertEq(digest, _bytes32(at, ".digest"), at);
            VM.assertTrue(
                CompactSignature.isBy(statement.signer, digest, statement.r, statement.vs), at
            );
            at = _item(++count);
        }
        VM.assertGe(count, 2, "statements were read");
    }

    function testReadingsLeaves() external {
        json = VM.readFile("../tests/cases/protocol_vectors.json");
        uint256 count;
        for (string memory at = ".readings[0]"; VM.keyExistsJson(json, at);) {
            bytes memory signature = VM.parseJsonBytes(json, string.concat(at, ".signature"));
            (bytes32 r, bytes32 s) = abi.decode(signature, (bytes32, bytes32));
            bytes32 leaf = ReadingHash.leaf(_bytes32(at, ".digest"), r, s);
            VM.assertEq(leaf, _bytes32(at, ".leaf"), at);
            at = string.concat(".readings[", VM.toString(++count), "]");
        }
        VM.assertGe(count, 2, "readings were read");
    }

    function _statement(string memory at)
        private
        view
        returns (IReadingDisputes.Settlement memory statement)
    {
        string memory message = string.concat(at, ".message");
        statement.deliveryStart = uint64(_uint(message, ".delivery_start"));
        statement.revision = uint32(_uint(message, ".revision"));
        statement.batchHash = _bytes32(message, ".batch_hash");
        statement.readingsRoot = _bytes32(message, ".readings_root");
        statement.receiptsRoot = _bytes32(message, ".receipts_root");
        statement.signer = VM.parseJsonAddress(json, string.concat(at, ".signer"));
        bytes memory signature = VM.parseJsonBytes(json, string.concat(at, ".compact_signature"));
        (statement.r, statement.vs) = abi.decode(signature, (bytes32, bytes32));
    }

    function _item(uint256 index) private pure returns (string memory) {
        return string.concat(".settlements[", VM.toString(index), "]");
    }

    function _uint(string memory at, string memory field) private view returns (uint256) {
        return VM.parseJsonUint(json, string.concat(at, field));
    }

    function _bytes32(string memory at, string memory field) private view returns (bytes32) {
        return VM.parseJsonBytes32(json, string.concat(at, field));
    }
}
