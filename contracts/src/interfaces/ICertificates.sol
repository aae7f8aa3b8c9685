// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {IERC6909TokenSupply} from "@openzeppelin/contracts/interfaces/IERC6909.sol";

import {IEnergyToken} from "./IEnergyToken.sol";

/// @title ICertificates: proofs of origin, one id per interval, device and source
/// @notice Balances are Wh (ERC-6909). An id is its own content, see `types/Certificate.sol`. Of each
/// certificate, what is held, claimed and put into storage is always what was issued. A certificate
/// moves apart from the energy that it was issued with, and no rule of `ICompliance` binds it.
interface ICertificates is IERC6909TokenSupply {
    /// @notice Storage was charged with part of a certificate, which is used up by that
    /// @param id the certificate of what the storage gave back
    /// @param chargedWith what it was charged with
    event Charged(uint256 indexed id, uint256 indexed chargedWith, uint256 energyWh);

    /// @notice Part of a certificate was claimed, for ever (the event of ERC-1888)
    /// @param owner who gave it up
    /// @param beneficiary who may say that it used this energy
    /// @param source technology, see `libraries/Sources.sol`
    /// @param purpose what for, in the owner's words
    event ClaimSingle(
        address indexed owner,
        address indexed beneficiary,
        uint256 indexed source,
        uint256 id,
        uint256 energyWh,
        bytes purpose
    );

    error IssuerOnly(address caller);
    error CertificateExists(uint256 id);
    error CertificateUnknown(uint256 id);
    error CertificateExceeded(uint256 id, uint256 energyWh);
    error EnergyZero(uint256 id);
    error BeneficiaryInvalid(address beneficiary);
    error ChargeLengthsDiffer(uint256 ids, uint256 energies);
    error DischargeAboveCharge(uint256 energyWh, uint256 chargedWh);

    /// @notice Claim part of a certificate that the caller holds; nothing undoes it
    /// @param energyWh how much of it
    /// @param beneficiary who uses the energy, the caller or somebody else
    /// @param purpose what for; kept in the event only
    function claim(uint256 id, uint256 energyWh, address beneficiary, string calldata purpose)
        external;

    /// @notice Issue a certificate to a producer
    /// @dev The energy token only.
    function issue(address producer, uint256 id) external;

    /// @notice Issue the certificate of energy that storage gave back, for what it was charged with
    /// @dev The energy token only, which needs the producer's allowance (`approve` or `setOperator`):
    /// what was charged with is used up, and no more is issued than that; losses stay with the
    /// storage. A certificate is issued when its interval is over, so none is of later energy.
    /// @param ids certificates that the producer holds
    /// @param energiesWh how much of each
    function issueStored(
        address producer,
        uint256 id,
        uint256[] calldata ids,
        uint256[] calldata energiesWh
    ) external;

    /// @notice Unpack a certificate; reverts when it was never issued
    function energyUnit(uint256 id) external view returns (IEnergyToken.EnergyUnit memory);

    /// @notice Grams of CO2-equivalent that part of a certificate avoided, see `libraries/Sources.sol`
    /// @dev An exact fraction, rounded down once: parts never give more than the whole. Energy from
    /// storage avoids what its mix does, Wh for Wh.
    /// @param energyWh at most what was issued
    function carbonCredits(uint256 id, uint256 energyWh) external view returns (uint256);

    /// @notice What a certificate's energy was made from, in Wh; for storage what it was charged with,
    /// which is more than the certificate has by the storage's losses
    /// @return solar rooftop solar
    /// @return wind wind
    /// @return hydro hydropower
    /// @return biomass biomass
    /// @return unknown of unknown origin
    function mixOf(uint256 id)
        external
        view
        returns (uint256 solar, uint256 wind, uint256 hydro, uint256 biomass, uint256 unknown);

    /// @notice True when the certificate was issued here
    function isIssued(uint256 id) external view returns (bool);

    /// @notice Wh of the certificate that an account is the beneficiary of
    function claimedOf(address account, uint256 id) external view returns (uint256 energyWh);

    /// @notice Wh of the certificate that are claimed
    function claimedTotal(uint256 id) external view returns (uint256 energyWh);

    /// @notice Wh of the certificate that storage was charged with
    function storedTotal(uint256 id) external view returns (uint256 energyWh);
}
