// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {AccessManaged} from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import {Arrays} from "@openzeppelin/contracts/utils/Arrays.sol";
import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";

import {IEnergyLedger} from "./interfaces/IEnergyLedger.sol";
import {ISmartMeter} from "./interfaces/ISmartMeter.sol";
import {CompactSignature} from "./libraries/CompactSignature.sol";
import {MeterKey} from "./libraries/MeterKey.sol";
import {ReadingHash} from "./libraries/ReadingHash.sol";
import {PackedReading} from "./types/PackedReading.sol";

/// @title SmartMeterRegistry: the meters of a community's accounts
/// @notice P-256 keys are checked by the precompile (EIP-7951, RIP-7212), in Solidity where a chain
/// has none; secp256k1 keys by `ecrecover`.
contract SmartMeterRegistry is ISmartMeter, AccessManaged {
    using Arrays for uint256[];

    /// @dev A meter's public key.
    struct Key {
        bytes32 x;
        bytes32 y;
    }

    /// @dev What `registerMeter`'s proof decodes to.
    struct Proof {
        bytes32 x;
        bytes32 y;
        address account;
        uint32 importLimitW;
        uint32 exportLimitW;
        bytes meterSignature;
        bytes accountSignature;
    }

    bytes32 private constant _REGISTRATION_TYPE_HASH = keccak256(
        "MeterRegistration(uint256 deviceId,address account,bytes32 publicKeyX,bytes32 publicKeyY,"
        "uint32 importLimitW,uint32 exportLimitW)"
    );
    bytes32 private constant _ROTATION_TYPE_HASH =
        keccak256("MeterRotation(uint256 oldDeviceId,uint256 newDeviceId,address account)");
    bytes32 private constant _RESET_TYPE_HASH = keccak256(
        "MeterReset(uint256 deviceId,address account,uint64 timestamp,uint64 sequence,"
        "uint64 oldConsumptionWh,uint64 oldProductionWh,"
        "uint64 newConsumptionWh,uint64 newProductionWh)"
    );
    uint256 private constant _CLOCK_SKEW_MAX_S = 120;
    uint256 private constant _RESET_AGE_MAX_S = 7 days;

    /// @notice The ledger whose EIP-712 domain meters and accounts sign in
    IEnergyLedger public immutable ledger;

    mapping(uint256 deviceId => Meter) private _meters;
    mapping(uint256 deviceId => Key) private _keys;
    mapping(uint256 deviceId => PackedReading) private _readings;
    mapping(uint256 deviceId => bytes32) private _signatureHashes;
    mapping(uint256 deviceId => uint256) private _origins;
    mapping(uint256 origin => uint256[] rising) private _resets;

    /// @inheritdoc ISmartMeter
    mapping(uint256 deviceId => uint256 successor) public successorOf;

    /// @inheritdoc ISmartMeter
    mapping(address account => uint256 deviceId) public deviceOf;

    /// @inheritdoc ISmartMeter
    mapping(address account => uint256 count) public meterCountOf;

    constructor(address authority, IEnergyLedger ledger_) AccessManaged(authority) {
        ledger = ledger_;
    }

    /* KEYS */

    /// @inheritdoc ISmartMeter
    function registerMeter(uint256 deviceId, bytes calldata proof)
        external
        restricted
        returns (bool)
    {
        Proof memory p = _decode(proof);
        Key memory key = Key(p.x, p.y);
        _checkNewKey(deviceId, key);
        bytes32 structHash = _registrationHash(deviceId, p);
        _checkConsent(deviceId, key, p.account, structHash, p.meterSignature, p.accountSignature);
        _meters[deviceId] = Meter(p.account, p.importLimitW, p.exportLimitW, false, false);
        _keys[deviceId] = key;
        deviceOf[p.account] = deviceId;
        ++meterCountOf[p.account];
        emit MeterRegistered(deviceId, p.account, p.x, p.y, p.importLimitW, p.exportLimitW);
        return true;
    }

    /// @inheritdoc ISmartMeter
    function rotateMeter(uint256 oldDeviceId, uint256 newDeviceId, bytes calldata proof)
        external
        restricted
        returns (bool)
    {
        Meter memory m = _known(oldDeviceId);
        bool ended = m.revoked && !m.suspended;
        if (ended || successorOf[oldDeviceId] != 0) revert MeterIsRevoked(oldDeviceId);
        (bytes32 x, bytes32 y, bytes memory meterSignature, bytes memory accountSignature) =
            abi.decode(proof, (bytes32, bytes32, bytes, bytes));
        Key memory key = Key(x, y);
        _checkNewKey(newDeviceId, key);
        bytes32 structHash =
            keccak256(abi.encode(_ROTATION_TYPE_HASH, oldDeviceId, newDeviceId, m.account));
        _checkConsent(newDeviceId, key, m.account, structHash, meterSignature, accountSignature);
        _succeed(oldDeviceId, newDeviceId, m);
        _keys[newDeviceId] = key;
        emit MeterRotated(oldDeviceId, newDeviceId, m.account, x, y);
        return true;
    }

    /// @inheritdoc ISmartMeter
    function resetMeter(uint256 deviceId, uint256 reading, bytes calldata proof)
        external
        restricted
        returns (bool)
    {
        Meter memory m = _counting(deviceId);
        PackedReading last = _readings[deviceId];
        PackedReading next = PackedReading.wrap(reading);
        if (!next.isCanonical()) revert ReadingMalformed(reading);
        _checkReset(deviceId, last, next);
        (bytes memory meterSignature, bytes memory accountSignature) =
            abi.decode(proof, (bytes, bytes));
        bytes32 structHash = _resetHash(deviceId, m.account, last, next);
        _checkConsent(
            deviceId, _keys[deviceId], m.account, structHash, meterSignature, accountSignature
        );
        _readings[deviceId] = next;
        _signatureHashes[deviceId] = keccak256(meterSignature);
        _resets[originOf(deviceId)].push(next.timestamp());
        _emitReset(deviceId, m.account, last, next);
        return true;
    }

    /// @inheritdoc ISmartMeter
    function revokeMeter(uint256 deviceId) external {
        Meter memory m = _known(deviceId);
        if (msg.sender != m.account) _checkCanCall(msg.sender, msg.data);
        if (m.revoked) revert MeterIsRevoked(deviceId);
        _revoke(deviceId, m.account);
        emit MeterRevoked(deviceId, m.account);
    }

    /// @inheritdoc ISmartMeter
    function suspendMeter(uint256 deviceId) external restricted {
        Meter memory m = _known(deviceId);
        if (m.suspended) revert MeterIsSuspended(deviceId);
        _revoke(deviceId, m.account);
        _meters[deviceId].suspended = true;
        emit MeterSuspended(deviceId, m.account);
    }

    /* READINGS */

    /// @inheritdoc ISmartMeter
    function submitReading(uint256 deviceId, uint256 reading, bytes calldata signature)
        external
        returns (bool)
    {
        Meter memory m = _counting(deviceId);
        PackedReading next = PackedReading.wrap(reading);
        if (!next.isCanonical()) revert ReadingMalformed(reading);
        if (!_isSigned(deviceId, next, signature)) revert ReadingSignatureInvalid(deviceId);
        _checkRises(deviceId, m, _readings[deviceId], next);
        _readings[deviceId] = next;
        _signatureHashes[deviceId] = keccak256(signature);
        emit ReadingSubmitted(
            deviceId,
            next.sequence(),
            next.timestamp(),
            next.consumptionWh(),
            next.productionWh(),
            next.flags()
        );
        return true;
    }

    /// @inheritdoc ISmartMeter
    function verifyReading(uint256 deviceId, uint256 reading, bytes calldata signature)
        external
        view
        returns (bool)
    {
        return !_meters[deviceId].revoked && isSigned(deviceId, reading, signature);
    }

    /// @inheritdoc ISmartMeter
    function isSigned(uint256 deviceId, uint256 reading, bytes calldata signature)
        public
        view
        returns (bool)
    {
        PackedReading given = PackedReading.wrap(reading);
        return _meters[deviceId].account != address(0) && given.isCanonical()
            && _isSigned(deviceId, given, signature);
    }

    /// @inheritdoc ISmartMeter
    function lastReading(uint256 deviceId) external view returns (MeterReading memory) {
        PackedReading last = _readings[deviceId];
        return MeterReading(
            deviceId,
            last.timestamp(),
            last.consumptionWh(),
            last.productionWh(),
            _signatureHashes[deviceId]
        );
    }

    /// @inheritdoc ISmartMeter
    function lastSequence(uint256 deviceId) external view returns (uint256) {
        return _readings[deviceId].sequence();
    }

    /* VIEWS */

    /// @inheritdoc ISmartMeter
    function meterOf(uint256 deviceId) external view returns (Meter memory) {
        return _meters[deviceId];
    }

    /// @inheritdoc ISmartMeter
    function keyOf(uint256 deviceId) external view returns (bytes32 x, bytes32 y) {
        Key memory key = _keys[deviceId];
        return (key.x, key.y);
    }

    /// @inheritdoc ISmartMeter
    function originOf(uint256 deviceId) public view returns (uint256) {
        uint256 origin = _origins[deviceId];
        return origin == 0 ? deviceId : origin;
    }

    /// @inheritdoc ISmartMeter
    function epochOf(uint256 deviceId, uint256 timestamp) external view returns (uint256) {
        return _resets[originOf(deviceId)].upperBound(timestamp);
    }

    /* CHECKS */

    /// @dev A meter that was registered, whatever became of it.
    function _known(uint256 deviceId) private view returns (Meter memory m) {
        m = _meters[deviceId];
        if (m.account == address(0)) revert MeterUnknown(deviceId);
    }

    /// @dev A meter whose readings count.
    function _counting(uint256 deviceId) private view returns (Meter memory m) {
        m = _known(deviceId);
        if (m.revoked) revert MeterIsRevoked(deviceId);
    }

    function _checkNewKey(uint256 deviceId, Key memory key) private view {
        uint256 keyDeviceId = MeterKey.deviceId(key.x, key.y);
        if (keyDeviceId != deviceId) revert MeterIdInvalid(deviceId, keyDeviceId);
        if (_meters[deviceId].account != address(0)) revert MeterAlreadyRegistered(deviceId);
    }

    /// @dev Key and account both signed: possession and consent.
    function _checkConsent(
        uint256 deviceId,
        Key memory key,
        address account,
        bytes32 structHash,
        bytes memory meterSignature,
        bytes memory accountSignature
    ) private view {
        bytes32 digest = MessageHashUtils.toTypedDataHash(ledger.domainSeparator(), structHash);
        if (
            meterSignature.length != 64
                || !MeterKey.isBy(
                    key.x, key.y, digest, _word(meterSignature, 0), _word(meterSignature, 32)
                )
        ) revert MeterSignatureInvalid(deviceId);
        if (!_isByAccount(account, digest, accountSignature)) {
            revert AccountSignatureInvalid(account);
        }
    }

    function _isByAccount(address account, bytes32 digest, bytes memory signature)
        private
        view
        returns (bool)
    {
        if (
            signature.length == 64
                && CompactSignature.isBy(account, digest, _word(signature, 0), _word(signature, 32))
        ) return true;
        return SignatureChecker.isValidSignatureNow(account, digest, signature);
    }

    function _isSigned(uint256 deviceId, PackedReading reading, bytes calldata signature)
        private
        view
        returns (bool)
    {
        if (signature.length != ReadingHash.SIGNATURE_LENGTH) return false;
        bytes32 digest = ReadingHash.digest(ledger.domainSeparator(), deviceId, reading, signature);
        Key memory key = _keys[deviceId];
        return
            MeterKey.isBy(key.x, key.y, digest, bytes32(signature[:32]), bytes32(signature[32:64]));
    }

    /// @dev Sequence, time and registers rise, and energy no faster than the power limits allow.
    function _checkRises(uint256 deviceId, Meter memory m, PackedReading last, PackedReading next)
        private
        view
    {
        if (next.sequence() <= last.sequence()) {
            revert ReadingSequenceNotRising(deviceId, next.sequence(), last.sequence());
        }
        _checkTime(deviceId, last, next);
        if (last.timestamp() == 0) return; // the registers of a first reading may stand anywhere
        uint256 elapsedS = next.timestamp() - last.timestamp();
        _checkRegister(
            deviceId, next.consumptionWh(), last.consumptionWh(), m.importLimitW, elapsedS
        );
        _checkRegister(deviceId, next.productionWh(), last.productionWh(), m.exportLimitW, elapsedS);
    }

    function _checkTime(uint256 deviceId, PackedReading last, PackedReading next) private view {
        if (next.timestamp() <= last.timestamp()) {
            revert ReadingTimeNotRising(deviceId, next.timestamp(), last.timestamp());
        }
        uint256 latest = block.timestamp + _CLOCK_SKEW_MAX_S;
        if (next.timestamp() > latest) revert ReadingInFuture(deviceId, next.timestamp(), latest);
    }

    function _checkRegister(
        uint256 deviceId,
        uint256 registerWh,
        uint256 lastRegisterWh,
        uint256 limitW,
        uint256 elapsedS
    ) private pure {
        if (registerWh < lastRegisterWh) {
            revert ReadingRegisterFell(deviceId, registerWh, lastRegisterWh);
        }
        uint256 energyWh = registerWh - lastRegisterWh;
        // A register shows whole Wh, so a difference may be almost 1 Wh above the energy.
        if (energyWh * 1 hours >= limitW * elapsedS + 1 hours) {
            revert ReadingAbovePowerLimit(deviceId, energyWh, limitW);
        }
    }

    /// @dev A reset is recent and never lifts a register: no energy comes from it.
    function _checkReset(uint256 deviceId, PackedReading last, PackedReading next) private view {
        _checkTime(deviceId, last, next);
        uint256 earliest = block.timestamp - _RESET_AGE_MAX_S;
        if (next.timestamp() < earliest) {
            revert ResetTooOld(deviceId, next.timestamp(), earliest);
        }
        if (last.timestamp() == 0) return; // nothing on chain that it could be compared with
        if (next.consumptionWh() > last.consumptionWh()) {
            revert ResetNotBack(deviceId, next.consumptionWh(), last.consumptionWh());
        }
        if (next.productionWh() > last.productionWh()) {
            revert ResetNotBack(deviceId, next.productionWh(), last.productionWh());
        }
    }

    /* EFFECTS */

    function _revoke(uint256 deviceId, address account) private {
        _meters[deviceId].revoked = true;
        if (deviceOf[account] == deviceId) deviceOf[account] = 0;
    }

    /// @dev The new key takes over limits, registers and epochs, and counts its readings from 1.
    function _succeed(uint256 oldDeviceId, uint256 newDeviceId, Meter memory m) private {
        _meters[oldDeviceId].revoked = true;
        _meters[newDeviceId] = Meter(m.account, m.importLimitW, m.exportLimitW, false, false);
        _readings[newDeviceId] = _readings[oldDeviceId].beforeFirst();
        _signatureHashes[newDeviceId] = _signatureHashes[oldDeviceId];
        _origins[newDeviceId] = originOf(oldDeviceId);
        successorOf[oldDeviceId] = newDeviceId;
        deviceOf[m.account] = newDeviceId;
    }

    function _emitReset(uint256 deviceId, address account, PackedReading last, PackedReading next)
        private
    {
        emit MeterReset(
            deviceId,
            account,
            next.timestamp(),
            last.consumptionWh(),
            last.productionWh(),
            next.consumptionWh(),
            next.productionWh()
        );
    }

    /* ENCODING */

    function _decode(bytes calldata proof) private pure returns (Proof memory p) {
        (
            p.x,
            p.y,
            p.account,
            p.importLimitW,
            p.exportLimitW,
            p.meterSignature,
            p.accountSignature
        ) = abi.decode(proof, (bytes32, bytes32, address, uint32, uint32, bytes, bytes));
    }

    function _registrationHash(uint256 deviceId, Proof memory p) private pure returns (bytes32) {
        return keccak256(
            abi.encode(
                _REGISTRATION_TYPE_HASH,
                deviceId,
                p.account,
                p.x,
                p.y,
                p.importLimitW,
                p.exportLimitW
            )
        );
    }

    function _resetHash(uint256 deviceId, address account, PackedReading last, PackedReading next)
        private
        pure
        returns (bytes32)
    {
        return keccak256(
            abi.encode(
                _RESET_TYPE_HASH,
                deviceId,
                account,
                next.timestamp(),
                next.sequence(),
                last.consumptionWh(),
                last.productionWh(),
                next.consumptionWh(),
                next.productionWh()
            )
        );
    }

    /// @dev The 32 bytes of `data` from `offset` on; the caller has checked the length.
    function _word(bytes memory data, uint256 offset) private pure returns (bytes32 word) {
        assembly ("memory-safe") {
            word := mload(add(add(data, 0x20), offset))
        }
    }
}
