// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

import {ICompliance} from "./interfaces/ICompliance.sol";
import {IEnergyLedger} from "./interfaces/IEnergyLedger.sol";
import {Accounts} from "./ledger/Accounts.sol";
import {Cashier} from "./ledger/Cashier.sol";
import {Corrections} from "./ledger/Corrections.sol";
import {Mandates} from "./ledger/Mandates.sol";
import {CompactSignature} from "./libraries/CompactSignature.sol";
import {OrderHash, OrderHasher} from "./libraries/OrderHash.sol";
import {AccountWord, AccountWordLibrary} from "./types/AccountWord.sol";
import {OrderRow, OrderRowLibrary} from "./types/OrderRow.sol";

/// @title EnergyLedger: settles a community's trades
/// @dev Words and windows are in `ledger/Accounts.sol`, money's ways in and out in
/// `ledger/Cashier.sol`.
contract EnergyLedger is Cashier, Mandates, Corrections {
    using SafeCast for int256;
    using SafeCast for uint256;

    /// @dev A batch while it is settled: what its rows share, the row before, and the sums. Its words'
    /// places are known to `_settleUsual`.
    struct Batch {
        OrderHasher hasher;
        uint256 index;
        int256 priceMin;
        int256 priceMax;
        uint256 meteredMaxWh;
        uint256 account;
        bytes32 digest;
        uint256 accountMintedWh;
        uint256 bought; // executed and metered Wh, each in its lane
        int256 paidMicro;
        uint256 sold;
        int256 receivedMicro;
        uint256 deliveryStart;
    }

    uint256 private constant _BUY = 0;
    uint256 private constant _SELL = 1;
    int256 private constant _WH_PER_KWH = 1000;
    uint256 private constant _CANCEL_AHEAD_MAX = 48;
    uint256 private constant _ENERGY_MAX = type(uint48).max;
    /// @dev A row's executed and metered energy, each with 48 free bits above it: lanes in which the
    /// energies of up to 2^48 rows add up side by side.
    uint256 private constant _LANES = 0xffffffffffff000000000000ffffffffffff0000000000000000;

    constructor(address authority, Terms memory terms) Accounts(authority, terms) {}

    modifier onlyEnergyToken() {
        if (msg.sender != energyToken) revert EnergyTokenOnly(msg.sender);
        _;
    }

    /* SETTLEMENT */

    /// @inheritdoc IEnergyLedger
    function settleBatch(
        uint64 deliveryStart,
        bytes32 readingsRoot,
        bytes32 receiptsRoot,
        bytes calldata rows
    ) external nonReentrant {
        Totals memory totals = _totals;
        if (msg.sender != totals.settler) revert SettlerOnly(msg.sender);
        if (totals.paused) revert TradingPaused();
        Batch memory batch = _open(deliveryStart);
        _settleRows(batch, rows);
        uint256 feesMicro_ = _checkBalanced(batch);
        _addToTotals(totals, batch, feesMicro_);
        emit BatchSettled(
            deliveryStart, keccak256(rows), readingsRoot, receiptsRoot, _sums(batch, feesMicro_)
        );
        if (totals.batchRules) ICompliance(compliance).afterBatch(deliveryStart, rows);
    }

    /// @inheritdoc IEnergyLedger
    function cancelInterval(uint64 deliveryStart) external nonReentrant {
        _checkCancellable(deliveryStart);
        _use(msg.sender, _indexOf(deliveryStart));
        emit IntervalCancelled(msg.sender, deliveryStart);
    }

    /// @inheritdoc IEnergyLedger
    function cancelIntervals(uint64 firstStart, uint96 intervals) external nonReentrant {
        uint64 start = firstStart;
        for (; intervals != 0; intervals >>= 1) {
            if (intervals & 1 != 0) {
                _checkCancellable(start);
                if (!_isUsed(msg.sender, start)) {
                    _use(msg.sender, _indexOf(start));
                    emit IntervalCancelled(msg.sender, start);
                }
            }
            start += uint64(intervalS);
        }
    }

    /* WHO MAY DO WHAT */

    /// @inheritdoc IEnergyLedger
    function setPaused(bool stop) external restricted {
        _totals.paused = stop;
        emit PausedSet(stop);
    }

    /// @inheritdoc IEnergyLedger
    function setSettler(address newSettler) external restricted {
        _totals.settler = newSettler;
        emit SettlerSet(newSettler);
    }

    /// @inheritdoc IEnergyLedger
    function setCompliance(address newCompliance, bool newBatchRules) external restricted {
        bool none = newCompliance == address(0);
        if (none ? newBatchRules : newCompliance.code.length == 0) {
            revert ComplianceInvalid(newCompliance);
        }
        compliance = newCompliance;
        _totals.batchRules = newBatchRules;
        emit ComplianceSet(newCompliance, newBatchRules);
    }

    /// @inheritdoc IEnergyLedger
    function setEnergyToken(address token) external restricted {
        if (token.code.length == 0 || energyToken != address(0)) revert EnergyTokenInvalid(token);
        energyToken = token;
        emit EnergyTokenSet(token);
    }

    /// @inheritdoc IEnergyLedger
    function setAccountFlags(address account, uint8 flags) external {
        if (msg.sender != compliance) revert ComplianceOnly(msg.sender);
        _setFlags(account, flags);
        emit AccountFlagsSet(account, flags);
    }

    /* ENERGY */

    /// @inheritdoc IEnergyLedger
    function moveEnergy(address from, address to, uint256 energyWh)
        external
        nonReentrant
        onlyEnergyToken
    {
        _takeEnergy(from, energyWh);
        _addEnergy(to, energyWh);
    }

    /// @inheritdoc IEnergyLedger
    function mintEnergy(address account, uint256 energyWh) external nonReentrant onlyEnergyToken {
        _addEnergy(account, energyWh);
        _totals.energyWh = (uint256(_totals.energyWh) + energyWh).toUint40();
    }

    /// @inheritdoc IEnergyLedger
    function burnEnergy(address account, uint256 energyWh) external nonReentrant onlyEnergyToken {
        _takeEnergy(account, energyWh);
        _totals.energyWh -= uint40(energyWh); // an account holds no more than all
    }

    /// @inheritdoc IEnergyLedger
    function useInterval(address account, uint64 deliveryStart)
        external
        nonReentrant
        onlyEnergyToken
    {
        _use(account, _indexOf(deliveryStart));
    }

    /* VIEWS */

    /// @inheritdoc IEnergyLedger
    function orderDigest(
        address account,
        uint64 deliveryStart,
        uint8 side,
        uint64 energyWh,
        int64 limitPriceMicroPerKwh,
        bytes32 termsHash
    ) external view returns (bytes32) {
        return OrderHash.prepare(_domainSeparatorV4(), marketHash, deliveryStart)
            .digest(account, side, energyWh, limitPriceMicroPerKwh, termsHash);
    }

    /// @inheritdoc IEnergyLedger
    function energyWhTotal() external view returns (uint256) {
        return _totals.energyWh;
    }

    /// @inheritdoc IEnergyLedger
    function settler() external view returns (address) {
        return _totals.settler;
    }

    /// @inheritdoc IEnergyLedger
    function batchRules() external view returns (bool) {
        return _totals.batchRules;
    }

    /// @inheritdoc IEnergyLedger
    function paused() external view returns (bool) {
        return _totals.paused;
    }

    /* INTERNAL: ROWS */

    /// @dev What a batch's rows share.
    function _open(uint64 deliveryStart) internal view returns (Batch memory batch) {
        batch.hasher = OrderHash.prepare(_domainSeparatorV4(), marketHash, deliveryStart);
        batch.index = _deliveredIndexOf(deliveryStart);
        batch.priceMin = _priceMin;
        batch.priceMax = _priceMax;
        batch.meteredMaxWh = _meteredMaxWh;
        batch.digest = bytes32(type(uint256).max); // refuses account 0, which seems to stand already
        batch.deliveryStart = deliveryStart;
    }

    function _settleRows(Batch memory batch, bytes calldata rows) internal {
        if (rows.length == 0 || rows.length % OrderRowLibrary.LENGTH != 0) {
            revert BatchLengthInvalid(rows.length);
        }
        uint256 cursor;
        assembly ("memory-safe") {
            cursor := rows.offset
        }
        uint256 end = cursor + rows.length;
        OrderHasher hasher = batch.hasher;
        while (cursor < end) {
            OrderRow row = OrderRow.wrap(cursor);
            unchecked {
                cursor += OrderRowLibrary.LENGTH;
            }
            bytes32 digest = hasher.digest(row);
            uint256 signer = CompactSignature.recover(digest, row.r(), row.vs());
            if (signer == row.head() >> 96) {
                if (signer > batch.account) {
                    if (_settleUsual(batch, row, digest)) continue;
                }
            }
            _settleRow(batch, row, digest, signer);
        }
    }

    /// @dev Settle an account's first row, signed by itself, as `_settleRow` does, if it is as most are:
    /// nothing short, in an interval later than the account's latest, and right in every respect. Else
    /// do nothing and return false: then `_settleRow` settles it or says what is wrong. It is the same
    /// in assembly, because this is where a batch's gas goes.
    function _settleUsual(Batch memory batch, OrderRow row, bytes32 digest)
        private
        returns (bool good)
    {
        assembly ("memory-safe") {
            let head := calldataload(row)
            let amounts := calldataload(add(row, 29))
            let bad := and(shr(112, amounts), 0xffffffffffff) // something is short
            let energyWh // what the account's columns gain, then what they hold
            let moneyMicro := signextend(7, amounts)
            {
                let executedWh := and(shr(160, amounts), 0xffffffffffff)
                let meteredWh := and(shr(64, amounts), 0xffffffffffff)
                let limit := signextend(7, shr(24, head))
                switch byte(20, head)
                case 0 {
                    if sgt(limit, mload(add(batch, 0x60))) { limit := mload(add(batch, 0x60)) }
                    bad := or(
                        or(bad, gt(meteredWh, executedWh)),
                        sgt(mul(moneyMicro, 1000), mul(executedWh, limit))
                    )
                    energyWh := sub(executedWh, meteredWh)
                    moneyMicro := sub(0, moneyMicro)
                }
                default {
                    if slt(limit, mload(add(batch, 0x40))) {
                        limit := mload(add(batch, 0x40))
                    }
                    let trades := shr(240, calldataload(add(row, 61)))
                    bad := or(
                        or(
                            or(bad, gt(byte(20, head), 1)), // no side
                            or(iszero(trades), gt(trades, executedWh))
                        ),
                        or(
                            or(lt(meteredWh, executedWh), gt(meteredWh, mload(add(batch, 0x80)))),
                            iszero(sgt(mul(add(moneyMicro, trades), 1000), mul(executedWh, limit)))
                        )
                    )
                    energyWh := sub(meteredWh, executedWh)
                }
                bad := or(bad, or(iszero(executedWh), gt(executedWh, shr(208, amounts))))
            }
            mstore(0, shr(96, head))
            mstore(0x20, _words.slot)
            let slot := keccak256(0, 0x40)
            let word := sload(slot)
            energyWh := add(energyWh, and(shr(184, word), 0xffffffffffffffff))
            moneyMicro := add(moneyMicro, and(shr(120, word), 0xffffffffffffffff))
            bad := or(bad, and(shr(248, word), sub(2, byte(20, head)))) // a flag for its side
            bad := or(bad, shr(64, or(energyWh, moneyMicro))) // one does not fit or is negative
            let index := mload(add(batch, 0x20))
            let ahead := sub(index, and(shr(96, word), 0xffffff))
            good := iszero(or(bad, gt(sub(ahead, 1), 0xfffffe))) // it is a later interval
            if good {
                let replay := or(shl(96, index), or(and(shl(ahead, word), sub(shl(96, 1), 1)), 1))
                word := or(and(word, shl(248, 0xff)), shl(184, energyWh))
                sstore(slot, or(or(word, shl(120, moneyMicro)), replay))
                mstore(add(batch, 0xa0), shr(96, head))
                mstore(add(batch, 0xc0), digest)
                mstore(add(batch, 0xe0), mul(byte(20, head), and(shr(64, amounts), 0xffffffffffff)))
                let sums := add(add(batch, 0x100), shl(6, byte(20, head)))
                mstore(
                    sums,
                    add(
                        mload(sums),
                        and(amounts, 0xffffffffffff000000000000ffffffffffff0000000000000000)
                    )
                )
                mstore(add(sums, 0x20), add(mload(add(sums, 0x20)), signextend(7, amounts)))
            }
        }
    }

    /// @dev Check that the row stands in its place and that its signer is its account or has a mandate,
    /// execute it and book it.
    function _settleRow(Batch memory batch, OrderRow row, bytes32 digest, uint256 signer) private {
        uint256 head = row.head();
        uint256 index = _NOT_AGAIN; // only an account's first row asks for the interval
        if (head >> 96 != batch.account) {
            if (head >> 96 < batch.account) revert RowAccountNotAscending(row.account());
            batch.account = head >> 96;
            batch.accountMintedWh = 0;
            index = batch.index;
        } else if (digest <= batch.digest) {
            revert RowOrderNotAscending(row.account(), digest);
        }
        batch.digest = digest;
        if (signer != head >> 96) {
            _checkMandate(row, digest, address(uint160(signer)), batch.deliveryStart);
        }
        if (head >> 88 & 0xff == _BUY) _buy(batch, row, digest, index);
        else _sell(batch, row, digest, index);
    }

    /// @dev Check a purchase against what was signed, add it to the sums and book it. A buyer pays the
    /// value and keeps what it bought and did not use. At most it pays its limit for what it bought,
    /// and for what it left (`short`) its limit less the lowest price at which that is taken off it.
    /// Nothing overflows: prices <= 2^63, energies < 2^48.
    function _buy(Batch memory batch, OrderRow row, bytes32 digest, uint256 index) private {
        uint256 amounts = row.amounts();
        int256 value = int64(uint64(amounts));
        unchecked {
            uint256 executedWh = amounts >> 160 & _ENERGY_MAX;
            uint256 shortWh = amounts >> 112 & _ENERGY_MAX;
            // Less one, zero is the largest number: refuses zero and too much.
            if (executedWh + shortWh - 1 >= amounts >> 208) {
                revert RowExecutedInvalid(digest, executedWh + shortWh, amounts >> 208);
            }
            int256 limit = row.limitMicroPerKwh();
            if (limit > _priceMax) limit = _priceMax;
            int256 most = int256(executedWh) * limit;
            if (shortWh != 0 && limit > _underUsePriceMin) {
                most += int256(shortWh) * (limit - _underUsePriceMin);
            }
            if (value * _WH_PER_KWH > most) revert RowLimitBroken(digest, value);
            uint256 meteredWh = amounts >> 64 & _ENERGY_MAX;
            if (meteredWh > executedWh) revert RowMeteredInvalid(digest, meteredWh, executedWh);
            batch.bought += amounts & _LANES;
            batch.paidMicro += value;
            int256 unusedWh = int256(executedWh - meteredWh);
            _bookRow(row.account(), index, AccountWordLibrary.NO_RECEIVE, unusedWh, -value);
        }
    }

    /// @dev Check a sale as `_buy` does a purchase. A seller receives the value and keeps what it
    /// produced and did not sell. Each trade's value was rounded down by less than one, so the exact
    /// value is below `value + trades`; at least it is the limit for what was sold, less, for what was
    /// not delivered (`short`), the highest price of a replacement less the limit.
    function _sell(Batch memory batch, OrderRow row, bytes32 digest, uint256 index) private {
        if (row.side() != _SELL) revert RowSideInvalid(digest, row.side());
        uint256 amounts = row.amounts();
        int256 value = int64(uint64(amounts));
        unchecked {
            uint256 executedWh = amounts >> 160 & _ENERGY_MAX;
            uint256 shortWh = amounts >> 112 & _ENERGY_MAX;
            if (executedWh + shortWh - 1 >= amounts >> 208) {
                revert RowExecutedInvalid(digest, executedWh + shortWh, amounts >> 208);
            }
            uint256 trades = row.trades();
            if (trades - 1 >= executedWh + shortWh) {
                revert RowTradesInvalid(digest, trades, executedWh + shortWh);
            }
            int256 limit = row.limitMicroPerKwh();
            if (limit < _priceMin) limit = _priceMin;
            int256 least = int256(executedWh) * limit;
            if (shortWh != 0 && limit < _shortfallPriceMax) {
                least -= int256(shortWh) * (_shortfallPriceMax - limit);
            }
            if ((value + int256(trades)) * _WH_PER_KWH <= least) {
                revert RowLimitBroken(digest, value);
            }
            uint256 meteredWh = amounts >> 64 & _ENERGY_MAX;
            if (meteredWh < executedWh) revert RowMeteredInvalid(digest, meteredWh, executedWh);
            _countMinted(batch, meteredWh);
            batch.sold += amounts & _LANES;
            batch.receivedMicro += value;
            int256 unsoldWh = int256(meteredWh - executedWh);
            _bookRow(row.account(), index, AccountWordLibrary.NO_SEND, unsoldWh, value);
        }
    }

    /// @dev Several sales of one account together mint no more than it can have produced.
    function _countMinted(Batch memory batch, uint256 meteredWh) private view {
        uint256 mintedWh = batch.accountMintedWh + meteredWh;
        if (mintedWh > _meteredMaxWh) {
            revert AccountMeteredTooMuch(address(uint160(batch.account)), mintedWh, _meteredMaxWh);
        }
        batch.accountMintedWh = mintedWh;
    }

    /* INTERNAL: SUMS */

    /// @dev Energy nets to zero; money nets to the fees, which are no more than allowed.
    function _checkBalanced(Batch memory batch) internal view returns (uint256) {
        int256 fees = batch.paidMicro - batch.receivedMicro;
        uint256 boughtWh = batch.bought >> 160;
        if (batch.sold >> 160 != boughtWh || fees < 0) {
            revert BatchUnbalanced(int256(batch.sold >> 160) - int256(boughtWh), -fees);
        }
        if (fees * _WH_PER_KWH > int256(boughtWh * _feeMaxMicroPerKwh)) {
            revert BatchFeesTooHigh(uint256(fees), boughtWh);
        }
        return uint256(fees);
    }

    function _addToTotals(Totals memory totals, Batch memory batch, uint256 fees) internal {
        uint256 mintedWh = uint96(batch.sold >> 64);
        uint256 burnedWh = uint96(batch.bought >> 64);
        if (mintedWh == burnedWh && fees == 0) return;
        totals.energyWh = (uint256(totals.energyWh) + mintedWh - burnedWh).toUint40();
        totals.feesMicro = (uint256(totals.feesMicro) + fees).toUint40();
        _totals = totals;
    }

    /// @dev The sums as `BatchSettled` has them.
    function _sums(Batch memory batch, uint256 fees) private pure returns (uint256 packed) {
        packed = uint256(uint64(batch.paidMicro.toInt64())) << 192;
        packed |= uint256((batch.bought >> 160).toUint48()) << 144;
        packed |= uint256(uint256(uint96(batch.sold >> 64)).toUint48()) << 96;
        packed |= uint256(uint256(uint96(batch.bought >> 64)).toUint48()) << 48;
        packed |= fees;
    }

    /// @dev Only before the delivery, and so near that the account's unsettled intervals stay in its
    /// window.
    function _checkCancellable(uint256 deliveryStart) private view {
        if (block.timestamp >= deliveryStart) revert DeliveryBegun(deliveryStart);
        uint256 latestStart = block.timestamp + _CANCEL_AHEAD_MAX * intervalS;
        if (deliveryStart > latestStart) revert DeliveryTooFarAhead(deliveryStart, latestStart);
    }
}
