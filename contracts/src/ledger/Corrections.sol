// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

import {IEnergyLedger} from "../interfaces/IEnergyLedger.sol";
import {AccountWordLibrary} from "../types/AccountWord.sol";
import {Accounts} from "./Accounts.sol";

/// @title Corrections: what late, corrected or replaced readings change in a settled interval
abstract contract Corrections is Accounts, ReentrancyGuardTransient {
    using SafeCast for uint256;
    using SafeCast for int256;

    /// @dev What was corrected of an account's interval.
    struct Corrected {
        uint8 revision;
        uint64 mintedWh;
    }

    /// @dev The sums of a correction.
    struct Sums {
        int256 energyWh;
        int256 moneyMicro;
        uint256 mintedWh;
        uint256 burnedWh;
    }

    bytes32 private constant _CORRECTION_TYPE_HASH = keccak256(
        "Correction(address account,string market,uint64 deliveryStart,uint8 revision,"
        "int64 energyWh,int64 moneyMicro,bytes32 receiptsRoot)"
    );

    mapping(address account => mapping(uint256 deliveryStart => Corrected)) private _corrected;

    /// @inheritdoc IEnergyLedger
    function correctInterval(
        uint64 deliveryStart,
        uint8 revision,
        bytes32 readingsRoot,
        bytes32 receiptsRoot,
        CorrectionRow[] calldata rows
    ) external nonReentrant {
        if (msg.sender != _totals.settler) {
            revert SettlerOnly(msg.sender);
        }
        if (_totals.paused) revert TradingPaused();
        if (rows.length == 0) revert BatchLengthInvalid(0);
        _deliveredIndexOf(deliveryStart);
        Sums memory sums = _correctRows(deliveryStart, revision, receiptsRoot, rows);
        int256 unexplainedWh = sums.energyWh - int256(sums.mintedWh) + int256(sums.burnedWh);
        if (unexplainedWh != 0 || sums.moneyMicro != 0) {
            revert CorrectionUnbalanced(unexplainedWh, sums.moneyMicro);
        }
        uint256 energyWh = (int256(uint256(_totals.energyWh)) + sums.energyWh).toUint256();
        _totals.energyWh = energyWh.toUint40();
        emit IntervalCorrected(
            deliveryStart,
            revision,
            keccak256(abi.encode(rows)),
            readingsRoot,
            receiptsRoot,
            sums.mintedWh,
            sums.burnedWh
        );
    }

    /// @inheritdoc IEnergyLedger
    function revisionOf(address account, uint64 deliveryStart) external view returns (uint256) {
        return _corrected[account][deliveryStart].revision;
    }

    function _correctRows(
        uint64 deliveryStart,
        uint8 revision,
        bytes32 receiptsRoot,
        CorrectionRow[] calldata rows
    ) private returns (Sums memory sums) {
        address last;
        for (uint256 i; i < rows.length; ++i) {
            CorrectionRow calldata row = rows[i];
            if (row.account <= last) revert RowAccountNotAscending(row.account);
            last = row.account;
            _checkMetered(deliveryStart, row);
            _checkFlags(row);
            _checkConsent(deliveryStart, revision, receiptsRoot, row);
            _useRevision(deliveryStart, revision, row);
            _book(row.account, row.energyWh, row.moneyMicro);
            sums.energyWh += row.energyWh;
            sums.moneyMicro += row.moneyMicro;
            sums.mintedWh += row.mintedWh;
            sums.burnedWh += row.burnedWh;
        }
    }

    /// @dev What is minted stays with the account, what is burned was its own; both only in an interval
    /// that a settlement used.
    function _checkMetered(uint64 deliveryStart, CorrectionRow calldata row) private view {
        bool gains = row.energyWh >= 0;
        int256 mintable = gains ? row.energyWh : int256(0);
        int256 burnable = gains ? int256(0) : -int256(row.energyWh);
        bool metered = row.mintedWh != 0 || row.burnedWh != 0;
        if (
            int256(uint256(row.mintedWh)) > mintable || int256(uint256(row.burnedWh)) > burnable
                || (metered && !_isUsed(row.account, deliveryStart))
        ) revert CorrectionMeteredInvalid(row.account, row.mintedWh, row.burnedWh);
    }

    /// @dev Who may not send or receive energy gets and gives none here either.
    function _checkFlags(CorrectionRow calldata row) private view {
        uint256 flags = _flagsOf(row.account);
        bool sends = row.energyWh < -int256(uint256(row.burnedWh));
        bool receives = row.energyWh > int256(uint256(row.mintedWh));
        if (
            (sends && flags & AccountWordLibrary.NO_SEND != 0)
                || (receives && flags & AccountWordLibrary.NO_RECEIVE != 0)
        ) revert AccountBlocked(row.account, flags);
    }

    /// @dev Who loses has signed it.
    function _checkConsent(
        uint64 deliveryStart,
        uint8 revision,
        bytes32 receiptsRoot,
        CorrectionRow calldata row
    ) private view {
        if (row.energyWh >= 0 && row.moneyMicro >= 0) return;
        bytes32 structHash = keccak256(
            abi.encode(
                _CORRECTION_TYPE_HASH,
                row.account,
                marketHash,
                deliveryStart,
                revision,
                row.energyWh,
                row.moneyMicro,
                receiptsRoot
            )
        );
        _checkSigned(row.account, structHash, row.r, row.vs);
    }

    /// @dev Revisions rise, and what all of them mint for an account's interval has the batch's bound.
    function _useRevision(uint64 deliveryStart, uint8 revision, CorrectionRow calldata row)
        private
    {
        Corrected storage corrected = _corrected[row.account][deliveryStart];
        if (revision <= corrected.revision) revert CorrectionRevisionUsed(row.account, revision);
        uint256 mintedWh = uint256(corrected.mintedWh) + row.mintedWh;
        if (mintedWh > _meteredMaxWh) {
            revert AccountMeteredTooMuch(row.account, mintedWh, _meteredMaxWh);
        }
        corrected.revision = revision;
        corrected.mintedWh = uint64(mintedWh);
    }
}
