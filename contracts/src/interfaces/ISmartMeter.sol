// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

/// @title ISmartMeter: meters, their keys and what they have read
/// @notice A meter's key is on P-256 or secp256k1: on the curve that its point lies on. Its id is
/// uint256(keccak256(x || y)); a secp256k1 key's address is the low 160 bits of it. A meter signs with
/// 64 bytes: r || s with low s (P-256), r || vs as in EIP-2098 (secp256k1).
///
/// Everything that a meter or an account signs is EIP-712 typed data in the ledger's domain. An account
/// signs as r || vs (64 bytes) or r || s || v (65 bytes), a contract wallet as it likes (ERC-1271).
interface ISmartMeter {
    /// @notice A reading that the registry accepted
    /// @param deviceId uint256(keccak256(x || y)) of the meter's key
    /// @param timestamp UTC second of the reading
    /// @param consumption register of energy taken from the grid, in Wh
    /// @param production register of energy given to the grid, in Wh
    /// @param signature keccak256 of the signature that came with it
    struct MeterReading {
        uint256 deviceId;
        uint256 timestamp;
        uint256 consumption;
        uint256 production;
        bytes32 signature;
    }

    /// @notice A meter's key and what it may show
    /// @param account zero for an unknown meter
    /// @param importLimitW what the connection's fuse lets in
    /// @param exportLimitW what the inverters can give
    /// @param revoked true when its readings no longer count: revoked, rotated or suspended
    /// @param suspended true when it signed readings that contradict one another
    struct Meter {
        address account;
        uint32 importLimitW;
        uint32 exportLimitW;
        bool revoked;
        bool suspended;
    }

    /* EVENTS */

    /// @notice A meter was bound to an account
    event MeterRegistered(
        uint256 indexed deviceId,
        address indexed account,
        bytes32 x,
        bytes32 y,
        uint32 importLimitW,
        uint32 exportLimitW
    );

    /// @notice A meter got another key
    event MeterRotated(
        uint256 indexed oldDeviceId,
        uint256 indexed newDeviceId,
        address indexed account,
        bytes32 x,
        bytes32 y
    );

    /// @notice A meter's registers begin anew; what lies between them is nobody's energy
    event MeterReset(
        uint256 indexed deviceId,
        address indexed account,
        uint256 timestamp,
        uint256 oldConsumptionWh,
        uint256 oldProductionWh,
        uint256 newConsumptionWh,
        uint256 newProductionWh
    );

    /// @notice A meter's readings count no more
    event MeterRevoked(uint256 indexed deviceId, address indexed account);

    /// @notice A meter contradicted itself; its readings count no more
    event MeterSuspended(uint256 indexed deviceId, address indexed account);

    /// @notice A reading was put on chain
    event ReadingSubmitted(
        uint256 indexed deviceId,
        uint256 indexed sequence,
        uint256 timestamp,
        uint256 consumptionWh,
        uint256 productionWh,
        uint256 flags
    );

    /* ERRORS */

    error MeterUnknown(uint256 deviceId);
    error MeterAlreadyRegistered(uint256 deviceId);
    error MeterIsRevoked(uint256 deviceId);
    error MeterIsSuspended(uint256 deviceId);
    error MeterIdInvalid(uint256 deviceId, uint256 keyDeviceId);
    error MeterSignatureInvalid(uint256 deviceId);
    error AccountSignatureInvalid(address account);
    error ResetTooOld(uint256 deviceId, uint256 timestamp, uint256 earliestTimestamp);
    error ResetNotBack(uint256 deviceId, uint256 registerWh, uint256 lastRegisterWh);
    error ReadingMalformed(uint256 reading);
    error ReadingSignatureInvalid(uint256 deviceId);
    error ReadingSequenceNotRising(uint256 deviceId, uint256 sequence, uint256 lastSequence);
    error ReadingTimeNotRising(uint256 deviceId, uint256 timestamp, uint256 lastTimestamp);
    error ReadingInFuture(uint256 deviceId, uint256 timestamp, uint256 latestTimestamp);
    error ReadingRegisterFell(uint256 deviceId, uint256 registerWh, uint256 lastRegisterWh);
    error ReadingAbovePowerLimit(uint256 deviceId, uint256 energyWh, uint256 limitW);

    /* KEYS */

    /// @notice Bind a meter's key to an account
    /// @dev Registrar only (it vouches for the power limits); meter and account both sign
    /// `MeterRegistration(uint256 deviceId,address account,bytes32 publicKeyX,bytes32 publicKeyY,
    /// uint32 importLimitW,uint32 exportLimitW)`.
    /// @param deviceId uint256(keccak256(x || y))
    /// @param proof abi.encode(bytes32 x, bytes32 y, address account, uint32 importLimitW,
    /// uint32 exportLimitW, bytes meterSignature, bytes accountSignature)
    function registerMeter(uint256 deviceId, bytes calldata proof) external returns (bool);

    /// @notice Give a meter another key: for ever, and also after a suspension
    /// @dev Registrar only; the new key and the account sign `MeterRotation(uint256 oldDeviceId,
    /// uint256 newDeviceId,address account)`. Limits and registers carry over: the new key's readings
    /// continue the old one's, but count from sequence 1 again.
    /// @param proof abi.encode(bytes32 x, bytes32 y, bytes meterSignature, bytes accountSignature)
    function rotateMeter(uint256 oldDeviceId, uint256 newDeviceId, bytes calldata proof)
        external
        returns (bool);

    /// @notice Let a meter's registers begin anew, at most as high as its latest reading on chain
    /// @dev Registrar only; meter and account sign `MeterReset(uint256 deviceId,address account,
    /// uint64 timestamp,uint64 sequence,uint64 oldConsumptionWh,uint64 oldProductionWh,
    /// uint64 newConsumptionWh,uint64 newProductionWh)`, the old registers being those of
    /// `lastReading`. The time must rise, and be of the last 7 days: a reset excuses no older
    /// contradiction. A meter that shows lower registers signs no reading until its reset stands here.
    /// @param reading where it begins, packed as for `submitReading`; any sequence
    /// @param proof abi.encode(bytes meterSignature, bytes accountSignature)
    function resetMeter(uint256 deviceId, uint256 reading, bytes calldata proof)
        external
        returns (bool);

    /// @notice Let a meter's readings count no more, for ever
    /// @dev By the meter's account or the registrar.
    function revokeMeter(uint256 deviceId) external;

    /// @notice Let the readings of a meter that contradicted itself count no more
    /// @dev `ReadingDisputes` only. A revoked meter can be suspended too.
    function suspendMeter(uint256 deviceId) external;

    /* READINGS */

    /// @notice Put a signed reading on chain; anyone may
    /// @dev Sequence, timestamp and registers only rise, and no faster than the power limits allow. The
    /// meter signs `Reading(uint256 deviceId,uint64 sequence,uint64 timestamp,uint64 consumptionWh,
    /// uint64 productionWh,uint16 flags,bytes32 previous,bytes32 samples)`.
    /// @param reading from the high bits: timestamp 40, sequence 40, consumption Wh 64,
    /// production Wh 64, flags 16, zero 32
    /// @param signature the meter's 64 bytes, then previous || samples: 128 bytes
    function submitReading(uint256 deviceId, uint256 reading, bytes calldata signature)
        external
        returns (bool);

    /// @notice Tell whether the meter's registered key signed the reading; never reverts
    /// @dev Says nothing about sequence; false for an unknown or revoked meter.
    function verifyReading(uint256 deviceId, uint256 reading, bytes calldata signature)
        external
        view
        returns (bool);

    /// @notice As `verifyReading`, but also of a meter that is revoked by now
    function isSigned(uint256 deviceId, uint256 reading, bytes calldata signature)
        external
        view
        returns (bool);

    /// @notice The latest accepted reading; its timestamp is zero when there is none
    function lastReading(uint256 deviceId) external view returns (MeterReading memory);

    /// @notice The sequence number of the latest accepted reading; 0 when there is none
    function lastSequence(uint256 deviceId) external view returns (uint256);

    /* VIEWS */

    /// @notice A meter; its account is zero when it is unknown
    function meterOf(uint256 deviceId) external view returns (Meter memory);

    /// @notice A meter's public key
    function keyOf(uint256 deviceId) external view returns (bytes32 x, bytes32 y);

    /// @notice The account's meter that got its key last; 0 for none, and while that one is revoked or suspended
    function deviceOf(address account) external view returns (uint256 deviceId);

    /// @notice How many meters were ever registered for the account; other keys of them do not count
    function meterCountOf(address account) external view returns (uint256);

    /// @notice The id under which the meter was registered first; the id itself until it is rotated
    function originOf(uint256 deviceId) external view returns (uint256);

    /// @notice The id that the meter's next key has; 0 for none
    function successorOf(uint256 deviceId) external view returns (uint256);

    /// @notice How often the meter had been reset by a moment, under whatever key
    /// @dev Only readings of one epoch have registers, sequence and time that rise together.
    function epochOf(uint256 deviceId, uint256 timestamp) external view returns (uint256);
}
