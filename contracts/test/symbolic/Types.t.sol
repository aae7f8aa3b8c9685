// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {OrderHash, OrderHasher} from "../../src/libraries/OrderHash.sol";
import {AccountWord, AccountWordLibrary} from "../../src/types/AccountWord.sol";
import {OrderRow, OrderRowLibrary} from "../../src/types/OrderRow.sol";

/// @title TypesProof: what is packed is what is unpacked, for every value
/// @dev Proved by halmos for all arguments, see `script/analyse halmos`.
contract TypesProof {
    /// @dev An order's fields, and what all orders of one interval share.
    struct Order {
        bytes32 domain;
        bytes32 market;
        uint64 start;
        address account;
        uint8 side;
        int64 limit;
        uint48 signedWh;
        bytes32 terms;
    }

    function checkAccountWordGivesBackItsFields(
        uint8 flags,
        uint64 energyWh,
        uint64 moneyMicro,
        uint24 latest,
        uint96 used
    ) external pure {
        AccountWord word = AccountWordLibrary.pack(
            uint256(flags) << 248, energyWh, moneyMicro, uint256(latest) << 96 | used
        );
        assert(word.flags() == flags);
        assert(word.flagBits() == uint256(flags) << 248);
        assert(word.energyWh() == energyWh);
        assert(word.moneyMicro() == moneyMicro);
        assert(word.latestInterval() == latest);
        assert(word.usedIntervals() == used);
        assert(word.replay() == (uint256(latest) << 96 | used));
    }

    function checkAccountWordHasNoOtherBits(AccountWord word) external pure {
        AccountWord again = AccountWordLibrary.pack(
            word.flagBits(), word.energyWh(), word.moneyMicro(), word.replay()
        );
        assert(AccountWord.unwrap(again) == AccountWord.unwrap(word));
    }

    function checkRowGivesBackItsHead(address account, uint8 side, int64 limit, bytes32 rest)
        external
        view
    {
        bytes memory head =
            abi.encodePacked(account, side, limit, rest, rest, rest, rest, bytes2(0));
        this.readHead(head, account, side, limit);
    }

    function readHead(bytes calldata packed, address account, uint8 side, int64 limit)
        external
        pure
    {
        OrderRow row = _rowAt(packed);
        assert(row.account() == account);
        assert(row.side() == side);
        assert(row.limitMicroPerKwh() == limit);
    }

    function checkRowGivesBackItsAmounts(
        bytes29 head,
        uint48 signedWh,
        uint48 executedWh,
        uint48 shortWh,
        uint48 meteredWh,
        int64 value,
        uint16 trades
    ) external view {
        bytes memory packed = abi.encodePacked(
            head, signedWh, executedWh, shortWh, meteredWh, value, trades, new bytes(96)
        );
        uint256 amounts = this.readAmounts(packed, trades);
        assert(amounts >> 208 == signedWh);
        assert(uint48(amounts >> 160) == executedWh);
        assert(uint48(amounts >> 112) == shortWh);
        assert(uint48(amounts >> 64) == meteredWh);
        assert(int64(uint64(amounts)) == value);
    }

    function readAmounts(bytes calldata packed, uint16 trades)
        external
        pure
        returns (uint256 amounts)
    {
        OrderRow row = _rowAt(packed);
        assert(row.trades() == trades);
        return row.amounts();
    }

    function checkRowGivesBackItsSignature(
        bytes32 head,
        bytes31 more,
        bytes32 t,
        bytes32 r,
        bytes32 vs
    ) external view {
        this.readSignature(abi.encodePacked(head, more, t, r, vs), t, r, vs);
    }

    function readSignature(bytes calldata packed, bytes32 t, bytes32 r, bytes32 vs) external pure {
        assert(packed.length == OrderRowLibrary.LENGTH);
        OrderRow row = _rowAt(packed);
        assert(row.termsHash() == t);
        assert(row.r() == r);
        assert(row.vs() == vs);
    }

    /// @dev The two ways to an order's digest, and EIP-712 written out, agree.
    function checkDigestIsTheTypedDatas(Order calldata order, bytes28 amounts) external view {
        bytes memory head =
            abi.encodePacked(order.account, order.side, order.limit, order.signedWh, amounts);
        bytes32 expected = _typedDigest(order);
        assert(
            _hasher(order)
                    .digest(order.account, order.side, order.signedWh, order.limit, order.terms)
                == expected
        );
        assert(this.digestOf(bytes.concat(head, order.terms, new bytes(64)), order) == expected);
    }

    function digestOf(bytes calldata packed, Order calldata order) external pure returns (bytes32) {
        return _hasher(order).digest(_rowAt(packed));
    }

    function _hasher(Order calldata order) private pure returns (OrderHasher) {
        return OrderHash.prepare(order.domain, order.market, order.start);
    }

    function _typedDigest(Order calldata order) private pure returns (bytes32) {
        bytes32 structHash = keccak256(
            abi.encode(
                OrderHash.TYPE_HASH,
                order.account,
                order.market,
                order.start,
                order.side,
                order.signedWh,
                order.limit,
                order.terms
            )
        );
        return keccak256(abi.encodePacked(hex"1901", order.domain, structHash));
    }

    function _rowAt(bytes calldata packed) private pure returns (OrderRow row) {
        assembly ("memory-safe") {
            row := packed.offset
        }
    }
}
