// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {IEnergyLedger} from "../../src/interfaces/IEnergyLedger.sol";
import {OrderRowLibrary} from "../../src/types/OrderRow.sol";
import {VM} from "./Vm.sol";

/// @dev One order with its execution, as a test states it; `key` is the owner's private key.
struct TestOrder {
    uint256 key;
    uint8 side;
    int64 limit;
    uint48 signedWh;
    uint48 executedWh;
    uint48 shortWh;
    uint48 meteredWh;
    int64 value;
    uint16 trades;
    bytes32 terms;
}

/// @title Batches: signing orders and packing them into a batch's rows
library Batches {
    uint8 internal constant BUY = 0;
    uint8 internal constant SELL = 1;

    function buy(uint256 key, uint48 energyWh, int64 limit, int64 price)
        internal
        pure
        returns (TestOrder memory)
    {
        int64 value = valueOf(energyWh, price);
        return TestOrder(key, BUY, limit, energyWh, energyWh, 0, energyWh, value, 1, bytes32(key));
    }

    function sell(uint256 key, uint48 energyWh, int64 limit, int64 price)
        internal
        pure
        returns (TestOrder memory)
    {
        int64 value = valueOf(energyWh, price);
        return TestOrder(key, SELL, limit, energyWh, energyWh, 0, energyWh, value, 1, bytes32(key));
    }

    /// @dev floor(energy * price / 1000)
    function valueOf(uint256 energyWh, int256 price) internal pure returns (int64) {
        int256 exact = int256(energyWh) * price;
        int256 value = exact / 1000;
        return int64(exact < 0 && exact % 1000 != 0 ? value - 1 : value);
    }

    function digestOf(IEnergyLedger ledger, uint64 start, TestOrder memory order)
        internal
        view
        returns (bytes32)
    {
        return ledger.orderDigest(
            VM.addr(order.key), start, order.side, order.signedWh, order.limit, order.terms
        );
    }

    /// @dev The batch's rows: sorted as the contract wants them, signed and packed.
    function pack(IEnergyLedger ledger, uint64 start, TestOrder[] memory unsorted)
        internal
        view
        returns (bytes memory rows)
    {
        TestOrder[] memory orders = new TestOrder[](unsorted.length);
        for (uint256 i; i < orders.length; ++i) {
            orders[i] = unsorted[i];
        }
        (address[] memory accounts, bytes32[] memory digests) = sort(ledger, start, orders);
        rows = new bytes(orders.length * OrderRowLibrary.LENGTH);
        for (uint256 i; i < orders.length; ++i) {
            (bytes32 r, bytes32 vs) = compact(orders[i].key, digests[i]);
            _put(rows, i, encode(accounts[i], orders[i], r, vs));
        }
    }

    /// @dev Write row `i`; appending one by one would copy a large batch as many times.
    function _put(bytes memory rows, uint256 i, bytes memory one) private pure {
        uint256 length = OrderRowLibrary.LENGTH;
        assembly ("memory-safe") {
            mcopy(add(add(rows, 0x20), mul(i, length)), add(one, 0x20), length)
        }
    }

    function row(IEnergyLedger ledger, uint64 start, TestOrder memory order)
        internal
        view
        returns (bytes memory)
    {
        (bytes32 r, bytes32 vs) = compact(order.key, digestOf(ledger, start, order));
        return encode(VM.addr(order.key), order, r, vs);
    }

    /// @dev A row of an account's order that another key signed.
    function rowBy(
        uint256 signerKey,
        IEnergyLedger ledger,
        uint64 start,
        address account,
        TestOrder memory order
    ) internal view returns (bytes memory) {
        bytes32 digest = ledger.orderDigest(
            account, start, order.side, order.signedWh, order.limit, order.terms
        );
        (bytes32 r, bytes32 vs) = compact(signerKey, digest);
        return encode(account, order, r, vs);
    }

    /// @dev Two accounts' rows in their order.
    function join(bytes memory first, bytes memory second) internal pure returns (bytes memory) {
        return bytes20(first) < bytes20(second)
            ? bytes.concat(first, second)
            : bytes.concat(second, first);
    }

    function encode(address account, TestOrder memory order, bytes32 r, bytes32 vs)
        internal
        pure
        returns (bytes memory)
    {
        return bytes.concat(
            abi.encodePacked(account, order.side, order.limit, order.signedWh, order.executedWh),
            abi.encodePacked(order.shortWh, order.meteredWh, order.value, order.trades),
            abi.encodePacked(order.terms, r, vs)
        );
    }

    /// @dev Sign as `r || vs` (EIP-2098).
    function compact(uint256 key, bytes32 digest) internal pure returns (bytes32 r, bytes32 vs) {
        uint8 v;
        bytes32 s;
        (v, r, s) = VM.sign(key, digest);
        vs = bytes32(uint256(s) | (uint256(v - 27) << 255));
    }

    /// @dev By account, then digest; insertion sort, for tests are small.
    function sort(IEnergyLedger ledger, uint64 start, TestOrder[] memory orders)
        internal
        view
        returns (address[] memory accounts, bytes32[] memory digests)
    {
        accounts = new address[](orders.length);
        digests = new bytes32[](orders.length);
        for (uint256 i; i < orders.length; ++i) {
            TestOrder memory order = orders[i];
            address account = VM.addr(order.key);
            bytes32 digest = ledger.orderDigest(
                account, start, order.side, order.signedWh, order.limit, order.terms
            );
            uint256 j = i;
            for (; j > 0; --j) {
                if (accounts[j - 1] < account) break;
                if (accounts[j - 1] == account && digests[j - 1] <= digest) break;
                orders[j] = orders[j - 1];
                (accounts[j], digests[j]) = (accounts[j - 1], digests[j - 1]);
            }
            orders[j] = order;
            (accounts[j], digests[j]) = (account, digest);
        }
    }
}
