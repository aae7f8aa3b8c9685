// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {IERC6909TokenSupply} from "@openzeppelin/contracts/interfaces/IERC6909.sol";
import {ERC6909} from "@openzeppelin/contracts/token/ERC6909/ERC6909.sol";
import {IERC165} from "@openzeppelin/contracts/utils/introspection/IERC165.sol";

import {ICertificates} from "./interfaces/ICertificates.sol";
import {IEnergyLedger} from "./interfaces/IEnergyLedger.sol";
import {IEnergyToken} from "./interfaces/IEnergyToken.sol";
import {Sources} from "./libraries/Sources.sol";
import {Certificate} from "./types/Certificate.sol";
import {Mix, MixLibrary} from "./types/Mix.sol";

/// @title Certificates: who holds, claimed and stored which proofs of origin
contract Certificates is ICertificates, ERC6909 {
    /// @dev Where a certificate's energy is; the rest of it is held. Its only slot, but for a mix.
    struct Use {
        bool issued;
        uint48 claimedWh;
        uint48 storedWh;
    }

    uint256 private constant _UNITS_PER_WH = 1e15;

    /// @notice The ledger whose energy token issues
    IEnergyLedger public immutable ledger;

    mapping(uint256 id => Use) private _uses;
    /// @dev Only for storage that was charged with certificates.
    mapping(uint256 id => Mix) private _mixes;

    /// @inheritdoc ICertificates
    mapping(address account => mapping(uint256 id => uint256 energyWh)) public claimedOf;

    constructor(IEnergyLedger ledger_) {
        ledger = ledger_;
    }

    modifier onlyIssuer() {
        if (msg.sender != ledger.energyToken()) revert IssuerOnly(msg.sender);
        _;
    }

    /// @inheritdoc ICertificates
    function claim(uint256 id, uint256 energyWh, address beneficiary, string calldata purpose)
        external
    {
        if (beneficiary == address(0)) revert BeneficiaryInvalid(beneficiary);
        _take(msg.sender, id, energyWh);
        _uses[id].claimedWh += uint48(energyWh);
        claimedOf[beneficiary][id] += energyWh;
        emit ClaimSingle(
            msg.sender, beneficiary, Certificate.wrap(id).source(), id, energyWh, bytes(purpose)
        );
    }

    /// @inheritdoc ICertificates
    function issue(address producer, uint256 id) external onlyIssuer {
        _issue(producer, id);
    }

    /// @inheritdoc ICertificates
    function issueStored(
        address producer,
        uint256 id,
        uint256[] calldata ids,
        uint256[] calldata energiesWh
    ) external onlyIssuer {
        if (ids.length != energiesWh.length) {
            revert ChargeLengthsDiffer(ids.length, energiesWh.length);
        }
        Mix mix;
        for (uint256 i; i < ids.length; ++i) {
            mix = mix.plus(_charge(producer, ids[i], energiesWh[i]));
            emit Charged(id, ids[i], energiesWh[i]);
        }
        uint256 energyWh = Certificate.wrap(id).energyWh();
        if (energyWh > mix.totalWh()) revert DischargeAboveCharge(energyWh, mix.totalWh());
        _mixes[id] = mix;
        _issue(producer, id);
    }

    /// @inheritdoc ICertificates
    function energyUnit(uint256 id) external view returns (IEnergyToken.EnergyUnit memory) {
        Certificate certificate = Certificate.wrap(id);
        uint256 energyWh = certificate.energyWh();
        return IEnergyToken.EnergyUnit({
            timestamp: certificate.intervalStart(),
            amount: energyWh * _UNITS_PER_WH,
            sourceType: certificate.source(),
            carbonCredits: carbonCredits(id, energyWh)
        });
    }

    /// @inheritdoc ICertificates
    function mixOf(uint256 id)
        external
        view
        returns (uint256 solar, uint256 wind, uint256 hydro, uint256 biomass, uint256 unknown)
    {
        Mix mix = _mixOf(id);
        solar = mix.energyWh(Sources.SOLAR);
        wind = mix.energyWh(Sources.WIND);
        hydro = mix.energyWh(Sources.HYDRO);
        biomass = mix.energyWh(Sources.BIOMASS);
        unknown = mix.energyWh(Sources.STORAGE);
    }

    /// @inheritdoc ICertificates
    function isIssued(uint256 id) external view returns (bool) {
        return _uses[id].issued;
    }

    /// @inheritdoc ICertificates
    function claimedTotal(uint256 id) external view returns (uint256) {
        return _uses[id].claimedWh;
    }

    /// @inheritdoc ICertificates
    function storedTotal(uint256 id) external view returns (uint256) {
        return _uses[id].storedWh;
    }

    /// @inheritdoc ICertificates
    function carbonCredits(uint256 id, uint256 energyWh) public view returns (uint256) {
        if (energyWh > Certificate.wrap(id).energyWh()) revert CertificateExceeded(id, energyWh);
        return _mixOf(id).avoidedG(energyWh);
    }

    /// @inheritdoc IERC6909TokenSupply
    function totalSupply(uint256 id) public view returns (uint256) {
        Use memory use = _uses[id];
        if (!use.issued) return 0;
        return Certificate.wrap(id).energyWh() - use.claimedWh - use.storedWh;
    }

    /// @inheritdoc IERC165
    function supportsInterface(bytes4 interfaceId)
        public
        view
        override(ERC6909, IERC165)
        returns (bool)
    {
        return interfaceId == type(IERC6909TokenSupply).interfaceId
            || super.supportsInterface(interfaceId);
    }

    /// @dev An id names its device by 120 bits only: no second certificate ever takes one that is used.
    function _issue(address producer, uint256 id) private {
        if (_uses[id].issued) revert CertificateExists(id);
        _uses[id].issued = true;
        _mint(producer, id, Certificate.wrap(id).energyWh());
    }

    /// @dev Use up what storage was charged with and tell what that was made from.
    function _charge(address producer, uint256 id, uint256 energyWh) private returns (Mix) {
        if (!isOperator(producer, msg.sender)) {
            _spendAllowance(producer, msg.sender, id, energyWh);
        }
        _take(producer, id, energyWh);
        _uses[id].storedWh += uint48(energyWh);
        return _mixOf(id).part(energyWh);
    }

    /// @dev Take from a holder for ever. What is held is at most what was issued: 48 bits.
    function _take(address owner, uint256 id, uint256 energyWh) private {
        if (energyWh == 0) revert EnergyZero(id);
        _burn(owner, id, energyWh);
    }

    function _mixOf(uint256 id) private view returns (Mix mix) {
        if (!_uses[id].issued) revert CertificateUnknown(id);
        mix = _mixes[id];
        if (Mix.unwrap(mix) != 0) return mix;
        return MixLibrary.single(Certificate.wrap(id).source(), Certificate.wrap(id).energyWh());
    }
}
