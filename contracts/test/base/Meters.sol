// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {ISmartMeter} from "../../src/interfaces/ISmartMeter.sol";
import {Batches} from "./Batches.sol";
import {Community} from "./Community.sol";
import {VM} from "./Vm.sol";

/// @title Wallets: the public key of a secp256k1 key, which `Vm` does not show
interface Wallets {
    struct Wallet {
        address addr;
        uint256 publicKeyX;
        uint256 publicKeyY;
        uint256 privateKey;
    }

    function createWallet(uint256 privateKey) external returns (Wallet memory);
}

/// @title Meters: what tests of meters sign besides registrations and readings
abstract contract Meters is Community {
    bytes32 private constant ROTATION =
        keccak256("MeterRotation(uint256 oldDeviceId,uint256 newDeviceId,address account)");
    bytes32 private constant RESET = keccak256(
        "MeterReset(uint256 deviceId,address account,uint64 timestamp,uint64 sequence,"
        "uint64 oldConsumptionWh,uint64 oldProductionWh,"
        "uint64 newConsumptionWh,uint64 newProductionWh)"
    );
    bytes32 private constant REGISTRATION = keccak256(
        "MeterRegistration(uint256 deviceId,address account,bytes32 publicKeyX,bytes32 publicKeyY,"
        "uint32 importLimitW,uint32 exportLimitW)"
    );

    /// @dev As `ReadingDisputes` does with a proven contradiction.
    function suspend(uint256 deviceId) internal {
        VM.prank(address(disputes));
        registry.suspendMeter(deviceId);
    }

    /* SIGNATURES */

    function meterSigns(uint256 meterKey, bytes32 digest) internal pure returns (bytes memory) {
        (bytes32 r, bytes32 s) = VM.signP256(meterKey, digest);
        return bytes.concat(r, lowS(s));
    }

    function accountSigns(uint256 key, bytes32 digest) internal pure returns (bytes memory) {
        (bytes32 r, bytes32 vs) = Batches.compact(key, digest);
        return bytes.concat(r, vs);
    }

    /* ROTATION */

    function rotationDigest(uint256 oldDevice, uint256 newDevice, address account)
        internal
        view
        returns (bytes32)
    {
        return digestOf(keccak256(abi.encode(ROTATION, oldDevice, newDevice, account)));
    }

    /// @dev The new meter key and the account agree.
    function rotationProof(uint256 oldDevice, uint256 newKey, uint256 accountKey)
        internal
        view
        returns (bytes memory)
    {
        bytes32 digest = rotationDigest(oldDevice, deviceOf(newKey), VM.addr(accountKey));
        return rotationProof(newKey, meterSigns(newKey, digest), accountSigns(accountKey, digest));
    }

    function rotationProof(uint256 newKey, bytes memory meter, bytes memory account)
        internal
        pure
        returns (bytes memory)
    {
        (uint256 x, uint256 y) = VM.publicKeyP256(newKey);
        return abi.encode(x, y, meter, account);
    }

    function rotate(uint256 oldKey, uint256 newKey, uint256 accountKey) internal {
        bytes memory proof = rotationProof(deviceOf(oldKey), newKey, accountKey);
        (uint256 oldDevice, uint256 newDevice) = (deviceOf(oldKey), deviceOf(newKey));
        VM.prank(operator);
        registry.rotateMeter(oldDevice, newDevice, proof);
    }

    /* RESET */

    /// @dev What meter and account sign, the old registers being those on chain.
    function resetDigest(uint256 deviceId, address account, uint256 reading)
        internal
        view
        returns (bytes32)
    {
        ISmartMeter.MeterReading memory last = registry.lastReading(deviceId);
        return digestOf(
            keccak256(
                abi.encode(
                    RESET,
                    deviceId,
                    account,
                    reading >> 216,
                    uint256(uint40(reading >> 176)),
                    last.consumption,
                    last.production,
                    uint256(uint64(reading >> 112)),
                    uint256(uint64(reading >> 48))
                )
            )
        );
    }

    function resetProof(uint256 meterKey, uint256 accountKey, uint256 reading)
        internal
        view
        returns (bytes memory)
    {
        bytes32 digest = resetDigest(deviceOf(meterKey), VM.addr(accountKey), reading);
        return abi.encode(meterSigns(meterKey, digest), accountSigns(accountKey, digest));
    }

    function reset(uint256 meterKey, uint256 accountKey, uint256 reading) internal {
        bytes memory proof = resetProof(meterKey, accountKey, reading);
        uint256 deviceId = deviceOf(meterKey);
        VM.prank(operator);
        registry.resetMeter(deviceId, reading, proof);
    }

    /* SECP256K1 */

    function pointOf(uint256 key) internal returns (uint256 x, uint256 y) {
        Wallets.Wallet memory wallet = Wallets(address(VM)).createWallet(key);
        return (wallet.publicKeyX, wallet.publicKeyY);
    }

    function secpDeviceOf(uint256 key) internal returns (uint256) {
        (uint256 x, uint256 y) = pointOf(key);
        return uint256(keccak256(abi.encode(x, y)));
    }

    /// @dev A registration with any point, signed by what stands for the meter and by the account.
    function secpProof(
        uint256 x,
        uint256 y,
        uint256 accountKey,
        function(bytes32) internal pure returns (bytes memory) signs
    ) internal view returns (bytes memory) {
        uint256 deviceId = uint256(keccak256(abi.encode(x, y)));
        address account = VM.addr(accountKey);
        bytes32 digest = digestOf(
            keccak256(
                abi.encode(REGISTRATION, deviceId, account, x, y, IMPORT_LIMIT_W, EXPORT_LIMIT_W)
            )
        );
        return abi.encode(
            x,
            y,
            account,
            IMPORT_LIMIT_W,
            EXPORT_LIMIT_W,
            signs(digest),
            accountSigns(accountKey, digest)
        );
    }

    function signSecpReading(uint256 key, uint256 deviceId, uint256 reading)
        internal
        view
        returns (bytes memory)
    {
        bytes32 digest = readingDigest(deviceId, reading, 0, 0);
        return bytes.concat(accountSigns(key, digest), bytes32(0), bytes32(0));
    }
}
