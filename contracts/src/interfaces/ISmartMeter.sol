// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

/// @title ISmartMeter: meters, their keys and what they have read
interface ISmartMeter {
    /// @notice A reading that the registry accepted
    /// @param deviceId uint256(keccak256(x || y)) of the meter's P-256 key
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

    /// @notice Bind a meter's key to an account
    /// @dev Registrar only (it vouches for the power limits); meter and account both sign
    /// `MeterRegistration` in the ledger's EIP-712 domain.
    /// @param deviceId uint256(keccak256(x || y))
    /// @param proof abi.encode(bytes32 x, bytes32 y, address account, uint32 importLimitW,
    /// uint32 exportLimitW, bytes meterSignature (r || s), bytes accountSignature (r || vs, or 65 bytes))
    function registerMeter(uint256 deviceId, bytes calldata proof) external returns (bool);

    /// @notice Put a signed reading on chain; anyone may
    /// @dev Sequence, timestamp and registers only rise, and no faster than the power limits allow.
    /// @param reading from the high bits: timestamp 40, sequence 40, consumption Wh 64,
    /// production Wh 64, flags 16, zero 32
    /// @param signature r || s || previous || samples, 128 bytes
    function submitReading(uint256 deviceId, uint256 reading, bytes calldata signature)
        external
        returns (bool);

    /// @notice Tell whether the meter's registered key signed the reading; never reverts
    /// @dev Says nothing about sequence; false for an unknown or revoked meter.
    function verifyReading(uint256 deviceId, uint256 reading, bytes calldata signature)
        external
        view
        returns (bool);
}
