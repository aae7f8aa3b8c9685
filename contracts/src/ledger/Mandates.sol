// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {TransientSlot} from "@openzeppelin/contracts/utils/TransientSlot.sol";

import {IEnergyLedger} from "../interfaces/IEnergyLedger.sol";
import {OrderRow} from "../types/OrderRow.sol";
import {Accounts} from "./Accounts.sol";

/// @title Mandates: other keys that sign an account's orders, within limits
/// @dev A contract wallet trades this way too: it sets a mandate for a key, and no settlement ever
/// calls the wallet.
abstract contract Mandates is Accounts {
    using TransientSlot for *;

    /// @dev A mandate's limits in one slot.
    struct Limits {
        uint40 validFrom;
        uint40 validUntil;
        uint48 energyPerIntervalMaxWh;
        int64 buyLimitMax;
        int64 sellLimitMin;
    }

    bytes32 private constant _MANDATE_TYPE_HASH = keccak256(
        "Mandate(address account,address delegate,uint40 validFrom,uint40 validUntil,"
        "uint48 energyPerIntervalMaxWh,int64 buyLimitMax,int64 sellLimitMin)"
    );

    mapping(address account => mapping(address delegate => Limits)) private _mandates;

    /// @inheritdoc IEnergyLedger
    function setMandate(Mandate calldata mandate) external {
        if (mandate.account != msg.sender) {
            revert MandateInvalid(mandate.account, mandate.delegate);
        }
        _set(mandate);
    }

    /// @inheritdoc IEnergyLedger
    function setMandateFor(Mandate calldata mandate, bytes32 r, bytes32 vs) external {
        _checkSigned(mandate.account, keccak256(abi.encode(_MANDATE_TYPE_HASH, mandate)), r, vs);
        _set(mandate);
    }

    /// @inheritdoc IEnergyLedger
    function revokeMandate(address delegate) external {
        Limits storage limits = _mandates[msg.sender][delegate];
        if (limits.validUntil == 0) revert MandateUnknown(msg.sender, delegate);
        // A delivery that has begun was traded in good faith: it stays covered.
        if (limits.validUntil > block.timestamp) limits.validUntil = uint40(block.timestamp) + 1;
        emit MandateRevoked(msg.sender, delegate, limits.validUntil);
    }

    /// @inheritdoc IEnergyLedger
    function mandateOf(address account, address delegate) external view returns (Mandate memory) {
        Limits memory limits = _mandates[account][delegate];
        return Mandate({
            account: account,
            delegate: delegate,
            validFrom: limits.validFrom,
            validUntil: limits.validUntil,
            energyPerIntervalMaxWh: limits.energyPerIntervalMaxWh,
            buyLimitMax: limits.buyLimitMax,
            sellLimitMin: limits.sellLimitMin
        });
    }

    /// @dev Check that the signer of a row's order had the account's mandate for it. What a key's orders
    /// trade in an interval is counted for the time of the transaction: an account's rows of one
    /// interval never come in two.
    function _checkMandate(OrderRow row, bytes32 digest, address signer, uint256 deliveryStart)
        internal
    {
        address account = row.account();
        Limits memory limits = _mandates[account][signer];
        if (limits.validUntil == 0) revert RowSignatureInvalid(account, digest);
        uint256 amounts = row.amounts();
        TransientSlot.Uint256Slot counter =
            keccak256(abi.encode(_MANDATE_TYPE_HASH, account, signer, deliveryStart)).asUint256();
        uint256 tradedWh = counter.tload() + uint48(amounts >> 160) + uint48(amounts >> 112);
        counter.tstore(tradedWh);
        int256 limit = row.limitMicroPerKwh();
        bool priced = row.side() == 0 ? limit <= limits.buyLimitMax : limit >= limits.sellLimitMin;
        bool timely = deliveryStart >= limits.validFrom && deliveryStart < limits.validUntil;
        if (!priced || !timely || tradedWh > limits.energyPerIntervalMaxWh) {
            revert MandateNotCovering(account, signer, digest);
        }
    }

    function _set(Mandate calldata mandate) private {
        address account = mandate.account;
        address delegate = mandate.delegate;
        bool empty = mandate.validFrom >= mandate.validUntil || mandate.energyPerIntervalMaxWh == 0;
        if (empty || delegate == address(0) || delegate == account) {
            revert MandateInvalid(account, delegate);
        }
        if (_mandates[account][delegate].validUntil != 0) revert MandateExists(account, delegate);
        _mandates[account][delegate] = Limits({
            validFrom: mandate.validFrom,
            validUntil: mandate.validUntil,
            energyPerIntervalMaxWh: mandate.energyPerIntervalMaxWh,
            buyLimitMax: mandate.buyLimitMax,
            sellLimitMin: mandate.sellLimitMin
        });
        emit MandateSet(
            account,
            delegate,
            mandate.validFrom,
            mandate.validUntil,
            mandate.energyPerIntervalMaxWh,
            mandate.buyLimitMax,
            mandate.sellLimitMin
        );
    }
}
