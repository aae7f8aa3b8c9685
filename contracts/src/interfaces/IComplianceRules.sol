// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {ICompliance} from "./ICompliance.sol";

/// @title IComplianceRules: the rules of one market, and what is known of its members
/// @notice Rules bind batches and transfers of energy. They never touch money: whatever is set here,
/// everybody can withdraw.
interface IComplianceRules is ICompliance {
    /// @notice What holds for everybody in the market
    /// @param allowList only listed accounts trade and transfer
    /// @param licences only accounts with a running licence give energy away
    /// @param saleCapWh most that a member sells in batches for deliveries of one calendar year (UTC);
    /// 0 for no cap. What moves as a transfer is not counted
    /// @param licenceGraceS seconds after a licence's end before it becomes a flag in the ledger, so that
    /// the last deliveries under the licence can still be settled
    struct Rules {
        bool allowList;
        bool licences;
        uint48 saleCapWh;
        uint32 licenceGraceS;
    }

    /// @notice What is known of an account, one word
    /// @param soldWh sold in batches for deliveries in `year`
    /// @param soldBeforeWh sold for deliveries in the year before
    /// @param year latest calendar year (UTC) of which a sale was booked
    /// @param saleCapWh its own cap; 0 for the market's, the type's maximum for none
    /// @param licenceUntil first UTC second in which its licence is over; 0 for no licence
    /// @param verifiedIn generation of the identity registry that it was last found verified in
    /// @param listed stands on the allow list
    /// @param exempt needs no listing, identity or licence: for contracts that hold energy for others
    /// @param sendBlocked may not give energy away
    /// @param receiveBlocked may not get energy
    struct Member {
        uint48 soldWh;
        uint48 soldBeforeWh;
        uint16 year;
        uint48 saleCapWh;
        uint40 licenceUntil;
        uint16 verifiedIn;
        bool listed;
        bool exempt;
        bool sendBlocked;
        bool receiveBlocked;
    }

    event RulesSet(bool allowList, bool licences, uint256 saleCapWh, uint256 licenceGraceS);
    event IdentityRegistrySet(address indexed registry, uint256 generation);
    event ListedSet(address indexed account, bool listed);
    event ExemptSet(address indexed account, bool exempt);
    event LicenceSet(address indexed account, uint256 licenceUntil);
    event SaleCapSet(address indexed account, uint256 saleCapWh);
    event BlockedSet(address indexed account, bool sending, bool receiving);
    event VerifiedSet(address indexed account, bool verified);
    event FrozenTokensSet(address indexed account, uint256 amount);

    error LedgerOnly(address caller);
    error EnergyTokenOnly(address caller);
    error IdentityRegistryInvalid(address registry);
    error AccountNotListed(address account);
    error AccountNotVerified(address account);
    error AccountLicenceOver(address account, uint256 licenceUntil, uint256 neededUntil);
    error AccountSendBlocked(address account);
    error AccountReceiveBlocked(address account);
    error AccountSaleCapExceeded(address account, uint256 soldWh, uint256 saleCapWh);
    error AccountYearPassed(address account, uint256 year, uint256 latestYear);

    /// @notice Set the market's rules
    /// @dev Compliance role. Flags that follow from them reach the ledger with each account's `refresh`.
    function setRules(Rules calldata newRules) external;

    /// @notice Name the ERC-3643 identity registry that vouches for accounts; zero for none
    /// @dev Admin only. Nobody counts as verified in batches before its `refresh` under the new registry.
    function setIdentityRegistry(address registry) external;

    /// @notice Put an account on the allow list or take it off
    /// @dev Compliance role, as the setters below.
    function setListed(address account, bool listed) external;

    /// @notice Let a contract that holds energy for others do without listing, identity and licence
    function setExempt(address account, bool exempt) external;

    /// @notice Set when an account's licence ends; 0 for no licence
    function setLicence(address account, uint40 licenceUntil) external;

    /// @notice Set an account's own yearly cap; 0 for the market's, the type's maximum for none
    function setSaleCap(address account, uint48 saleCapWh) external;

    /// @notice Stop an account from giving energy away or getting it
    function setBlocked(address account, bool sending, bool receiving) external;

    /// @notice Look an account up in the identity registry and carry what follows into the ledger's
    /// flags; anyone may
    function refresh(address account) external;

    /// @notice The market's rules
    function rules() external view returns (Rules memory);

    /// @notice What is known of an account
    function memberOf(address account) external view returns (Member memory);

    /// @notice The account's yearly cap in Wh, its own or the market's; the type's maximum for none
    function saleCapOf(address account) external view returns (uint256 capWh);

    /// @notice What an account sold in batches for deliveries of a calendar year (UTC), in Wh
    /// @dev Known of its latest year of sales and the one before.
    function salesOf(address account, uint256 year) external view returns (uint256 soldWh);

    /// @notice The flags that an account should have in the ledger now, see `AccountWord`
    function flagsOf(address account) external view returns (uint256);

    /// @notice Who vouches for accounts; zero for nobody
    function identityRegistry() external view returns (address);
}
