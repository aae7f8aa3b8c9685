// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {AccessManaged} from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";

import {SmartMeterRegistry} from "./SmartMeterRegistry.sol";
import {IEnergyLedger} from "./interfaces/IEnergyLedger.sol";
import {IEnergyToken} from "./interfaces/IEnergyToken.sol";
import {Sources} from "./libraries/Sources.sol";
import {Certificate, CertificateLibrary} from "./types/Certificate.sol";

/// @title EnergyToken: the ERC-20 face of the ledger's energy column
/// @notice 1 token = 1 kWh with 18 decimals; the ledger counts whole Wh, so amounts are multiples
/// of 1e15. It holds no balances of its own. A settlement changes balances with one `BatchSettled`
/// event of the ledger instead of one `Transfer` per account.
contract EnergyToken is IEnergyToken, ERC20, ERC20Permit, AccessManaged {
    /// @dev What was minted directly for a producer in its latest interval.
    struct Minted {
        uint64 start;
        uint64 energyWh;
        uint16 certificates;
    }

    /// @notice A certificate was issued; its id is its content
    event EnergyMinted(
        uint256 indexed tokenId,
        address indexed producer,
        uint256 indexed deviceId,
        uint256 amount,
        uint8 sourceType
    );

    error AmountNotWholeWh(uint256 amount);
    error AmountZero();
    error SourceUnknown(uint8 sourceType);
    error ProducerWithoutMeter(address producer);
    error MintAboveCap(address producer, uint256 energyWh, uint256 capWh);

    uint256 private constant _UNITS_PER_WH = 1e15;

    /// @notice The ledger that holds the balances
    IEnergyLedger public immutable ledger;
    /// @notice Where producers' meters are registered
    SmartMeterRegistry public immutable registry;

    mapping(address producer => Minted) private _minted;

    constructor(address authority, IEnergyLedger ledger_, SmartMeterRegistry registry_)
        ERC20("Energy Trade kWh", "kWh")
        ERC20Permit("Energy Trade kWh")
        AccessManaged(authority)
    {
        ledger = ledger_;
        registry = registry_;
    }

    /// @inheritdoc IEnergyToken
    function mintEnergyTokens(address producer, uint256 amount, uint8 sourceType)
        external
        restricted
        returns (uint256 tokenId)
    {
        if (!Sources.isKnown(sourceType)) revert SourceUnknown(sourceType);
        uint256 energyWh = _wholeWh(amount);
        if (energyWh == 0) revert AmountZero();
        uint256 deviceId = registry.deviceOf(producer);
        if (deviceId == 0) revert ProducerWithoutMeter(producer);
        tokenId = _certify(producer, deviceId, energyWh, sourceType);
        _mint(producer, amount);
        emit EnergyMinted(tokenId, producer, deviceId, amount, sourceType);
    }

    /// @inheritdoc IEnergyToken
    function burnEnergyTokens(address consumer, uint256 amount) external returns (bool) {
        if (msg.sender != consumer) _spendAllowance(consumer, msg.sender, amount);
        _burn(consumer, amount);
        return true;
    }

    /// @inheritdoc IEnergyToken
    function transferEnergy(address from, address to, uint256 amount) external returns (bool) {
        if (msg.sender != from) _spendAllowance(from, msg.sender, amount);
        _transfer(from, to, amount);
        return true;
    }

    /// @notice Unpack a certificate's id
    /// @dev A pure reading of the id. That it was issued is shown by its `EnergyMinted` event.
    function energyUnit(uint256 tokenId) external pure returns (EnergyUnit memory) {
        Certificate id = Certificate.wrap(tokenId);
        uint256 energyWh = id.energyWh();
        return EnergyUnit({
            timestamp: id.intervalStart(),
            amount: energyWh * _UNITS_PER_WH,
            sourceType: id.source(),
            carbonCredits: Sources.avoidedG(id.source(), energyWh)
        });
    }

    function totalSupply() public view override returns (uint256) {
        return ledger.energyWhTotal() * _UNITS_PER_WH;
    }

    function balanceOf(address account) public view override returns (uint256) {
        (uint256 energyWh,,,) = ledger.accountOf(account);
        return energyWh * _UNITS_PER_WH;
    }

    /// @dev OpenZeppelin's one place where balances change: here they change in the ledger.
    function _update(address from, address to, uint256 value) internal override {
        uint256 energyWh = _wholeWh(value);
        if (from == address(0)) ledger.mintEnergy(to, energyWh);
        else if (to == address(0)) ledger.burnEnergy(from, energyWh);
        else ledger.moveEnergy(from, to, energyWh);
        emit Transfer(from, to, value);
    }

    /// @dev Count the energy against the producer's cap in the interval that ended last. The first
    /// mint uses the interval up in the ledger: a settlement and a direct mint exclude each other.
    function _certify(address producer, uint256 deviceId, uint256 energyWh, uint8 source)
        private
        returns (uint256)
    {
        uint256 durationS = ledger.intervalS();
        uint64 start = uint64(block.timestamp - block.timestamp % durationS - durationS);
        Minted memory minted = _minted[producer];
        if (minted.start != start) {
            ledger.useInterval(producer, start);
            minted = Minted(start, 0, 0);
        }
        uint256 capWh = uint256(registry.meterOf(deviceId).exportLimitW) * durationS / 1 hours;
        uint256 totalWh = minted.energyWh + energyWh;
        if (totalWh > capWh) revert MintAboveCap(producer, totalWh, capWh);
        minted.energyWh = uint64(totalWh); // a cap has at most 32 bits
        minted.certificates += 1;
        _minted[producer] = minted;
        return Certificate.unwrap(
            CertificateLibrary.pack(
                deviceId,
                start,
                durationS,
                source,
                minted.certificates,
                source == Sources.STORAGE,
                energyWh
            )
        );
    }

    function _wholeWh(uint256 amount) private pure returns (uint256) {
        if (amount % _UNITS_PER_WH != 0) revert AmountNotWholeWh(amount);
        return amount / _UNITS_PER_WH;
    }
}
