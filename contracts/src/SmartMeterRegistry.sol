// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {AccessManaged} from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";
import {P256} from "@openzeppelin/contracts/utils/cryptography/P256.sol";

import {IEnergyLedger} from "./interfaces/IEnergyLedger.sol";
import {ISmartMeter} from "./interfaces/ISmartMeter.sol";
import {CompactSignature} from "./libraries/CompactSignature.sol";
import {PackedReading} from "./types/PackedReading.sol";

/// @title SmartMeterRegistry: P-256 meters of a community's accounts
/// @notice Verifies with the P-256 precompile (EIP-7951, RIP-7212), in Solidity where it is absent.
contract SmartMeterRegistry is ISmartMeter, AccessManaged {
    /// @notice A meter
    /// @param account zero for an unknown meter
    /// @param importLimitW what the connection's fuse lets in
    /// @param exportLimitW what the inverters can give
    /// @param revoked true when its readings no longer count
    struct Meter {
        address account;
        uint32 importLimitW;
        uint32 exportLimitW;
        bool revoked;
    }

    /// @dev A meter's P-256 public key.
    struct Key {
        bytes32 x;
        bytes32 y;
    }

    /// @dev What `proof` decodes to.
    struct Proof {
        bytes32 x;
        bytes32 y;
        address account;
        uint32 importLimitW;
        uint32 exportLimitW;
        bytes meterSignature;
        bytes accountSignature;
    }

    event MeterRegistered(
        uint256 indexed deviceId,
        address indexed account,
        bytes32 x,
        bytes32 y,
        uint32 importLimitW,
        uint32 exportLimitW
    );
    event MeterRevoked(uint256 indexed deviceId, address indexed account);
    event ReadingSubmitted(
        uint256 indexed deviceId,
        uint256 indexed sequence,
        uint256 timestamp,
        uint256 consumptionWh,
        uint256 productionWh,
        uint256 flags
    );

    error MeterUnknown(uint256 deviceId);
    error MeterAlreadyRegistered(uint256 deviceId);
    error MeterIsRevoked(uint256 deviceId);
    error MeterIdInvalid(uint256 deviceId, uint256 keyDeviceId);
    error MeterSignatureInvalid(uint256 deviceId);
    error AccountSignatureInvalid(address account);
    error ReadingMalformed(uint256 reading);
    error ReadingSignatureInvalid(uint256 deviceId);
    error ReadingSequenceNotRising(uint256 deviceId, uint256 sequence, uint256 lastSequence);
    error ReadingTimeNotRising(uint256 deviceId, uint256 timestamp, uint256 lastTimestamp);
    error ReadingInFuture(uint256 deviceId, uint256 timestamp, uint256 latestTimestamp);
    error ReadingRegisterFell(uint256 deviceId, uint256 registerWh, uint256 lastRegisterWh);
    error ReadingAbovePowerLimit(uint256 deviceId, uint256 energyWh, uint256 limitW);

    bytes32 private constant _REGISTRATION_TYPE_HASH = keccak256(
        "MeterRegistration(uint256 deviceId,address account,bytes32 publicKeyX,bytes32 publicKeyY,"
        "uint32 importLimitW,uint32 exportLimitW)"
    );
    bytes32 private constant _READING_TYPE_HASH = keccak256(
        "Reading(uint256 deviceId,uint64 sequence,uint64 timestamp,uint64 consumptionWh,"
        "uint64 productionWh,uint16 flags,bytes32 previous,bytes32 samples)"
    );
    uint256 private constant _CLOCK_SKEW_MAX_S = 120;
    uint256 private constant _SIGNATURE_LENGTH = 128;

    /// @notice The ledger whose EIP-712 domain meters and accounts sign in
    IEnergyLedger public immutable ledger;

    mapping(uint256 deviceId => Meter) private _meters;
    mapping(uint256 deviceId => Key) private _keys;
    mapping(uint256 deviceId => PackedReading) private _readings;
    mapping(uint256 deviceId => bytes32) private _signatureHashes;

    /// @notice The account's meter that was registered last and is not revoked; 0 for none
    mapping(address account => uint256 deviceId) public deviceOf;

    constructor(address authority, IEnergyLedger ledger_) AccessManaged(authority) {
        ledger = ledger_;
    }

    /// @inheritdoc ISmartMeter
    function registerMeter(uint256 deviceId, bytes calldata proof)
        external
        restricted
        returns (bool)
    {
        Proof memory p = _decode(proof);
        uint256 keyDeviceId = uint256(keccak256(abi.encode(p.x, p.y)));
        if (keyDeviceId != deviceId) revert MeterIdInvalid(deviceId, keyDeviceId);
        if (_meters[deviceId].account != address(0)) revert MeterAlreadyRegistered(deviceId);
        _checkProof(deviceId, p);
        _meters[deviceId] = Meter(p.account, p.importLimitW, p.exportLimitW, false);
        _keys[deviceId] = Key(p.x, p.y);
        deviceOf[p.account] = deviceId;
        emit MeterRegistered(deviceId, p.account, p.x, p.y, p.importLimitW, p.exportLimitW);
        return true;
    }

    /// @notice Let a meter's readings count no more, for ever
    /// @dev By the meter's account or the registrar.
    function revokeMeter(uint256 deviceId) external {
        Meter storage m = _meters[deviceId];
        address account = m.account;
        if (account == address(0)) revert MeterUnknown(deviceId);
        if (msg.sender != account) _checkCanCall(msg.sender, msg.data);
        if (m.revoked) revert MeterIsRevoked(deviceId);
        m.revoked = true;
        if (deviceOf[account] == deviceId) deviceOf[account] = 0;
        emit MeterRevoked(deviceId, account);
    }

    /// @inheritdoc ISmartMeter
    function submitReading(uint256 deviceId, uint256 reading, bytes calldata signature)
        external
        returns (bool)
    {
        Meter memory m = _meters[deviceId];
        PackedReading next = PackedReading.wrap(reading);
        if (m.account == address(0)) revert MeterUnknown(deviceId);
        if (m.revoked) revert MeterIsRevoked(deviceId);
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
        Meter memory m = _meters[deviceId];
        PackedReading given = PackedReading.wrap(reading);
        return m.account != address(0) && !m.revoked && given.isCanonical()
            && _isSigned(deviceId, given, signature);
    }

    /// @notice A meter; its account is zero when it is unknown
    function meterOf(uint256 deviceId) external view returns (Meter memory) {
        return _meters[deviceId];
    }

    /// @notice A meter's public key
    function keyOf(uint256 deviceId) external view returns (bytes32 x, bytes32 y) {
        Key memory key = _keys[deviceId];
        return (key.x, key.y);
    }

    /// @notice The latest accepted reading; its timestamp is zero when there is none
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

    /// @notice The sequence number of the latest accepted reading; 0 when there is none
    function lastSequence(uint256 deviceId) external view returns (uint256) {
        return _readings[deviceId].sequence();
    }

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

    function _checkProof(uint256 deviceId, Proof memory p) private view {
        bytes32 digest = _digest(
            keccak256(
                abi.encode(
                    _REGISTRATION_TYPE_HASH,
                    deviceId,
                    p.account,
                    p.x,
                    p.y,
                    p.importLimitW,
                    p.exportLimitW
                )
            )
        );
        bytes memory m = p.meterSignature;
        if (m.length != 64 || !P256.verify(digest, _word(m, 0), _word(m, 32), p.x, p.y)) {
            revert MeterSignatureInvalid(deviceId);
        }
        if (!_isByAccount(p.account, digest, p.accountSignature)) {
            revert AccountSignatureInvalid(p.account);
        }
    }

    function _isByAccount(address account, bytes32 digest, bytes memory signature)
        private
        view
        returns (bool)
    {
        if (signature.length == 64) {
            return CompactSignature.isBy(account, digest, _word(signature, 0), _word(signature, 32));
        }
        (address signer, ECDSA.RecoverError problem,) = ECDSA.tryRecover(digest, signature);
        return problem == ECDSA.RecoverError.NoError && signer == account;
    }

    function _isSigned(uint256 deviceId, PackedReading reading, bytes calldata signature)
        private
        view
        returns (bool)
    {
        if (signature.length != _SIGNATURE_LENGTH) return false;
        bytes32 digest = _digest(
            keccak256(
                abi.encode(
                    _READING_TYPE_HASH,
                    deviceId,
                    reading.sequence(),
                    reading.timestamp(),
                    reading.consumptionWh(),
                    reading.productionWh(),
                    reading.flags(),
                    bytes32(signature[64:96]),
                    bytes32(signature[96:128])
                )
            )
        );
        Key memory key = _keys[deviceId];
        return P256.verify(digest, bytes32(signature[:32]), bytes32(signature[32:64]), key.x, key.y);
    }

    /// @dev Sequence, time and registers rise, and energy no faster than the power limits allow.
    function _checkRises(uint256 deviceId, Meter memory m, PackedReading last, PackedReading next)
        private
        view
    {
        if (next.sequence() <= last.sequence()) {
            revert ReadingSequenceNotRising(deviceId, next.sequence(), last.sequence());
        }
        if (next.timestamp() <= last.timestamp()) {
            revert ReadingTimeNotRising(deviceId, next.timestamp(), last.timestamp());
        }
        uint256 latest = block.timestamp + _CLOCK_SKEW_MAX_S;
        if (next.timestamp() > latest) revert ReadingInFuture(deviceId, next.timestamp(), latest);
        if (last.timestamp() == 0) return; // the registers of a first reading may stand anywhere
        uint256 elapsedS = next.timestamp() - last.timestamp();
        _checkRegister(
            deviceId, next.consumptionWh(), last.consumptionWh(), m.importLimitW, elapsedS
        );
        _checkRegister(deviceId, next.productionWh(), last.productionWh(), m.exportLimitW, elapsedS);
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

    function _digest(bytes32 structHash) private view returns (bytes32) {
        return MessageHashUtils.toTypedDataHash(ledger.domainSeparator(), structHash);
    }

    /// @dev The 32 bytes of `data` from `offset` on; the caller has checked the length.
    function _word(bytes memory data, uint256 offset) private pure returns (bytes32 word) {
        assembly ("memory-safe") {
            word := mload(add(add(data, 0x20), offset))
        }
    }
}
