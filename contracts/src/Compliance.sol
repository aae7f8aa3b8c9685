// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {AccessManaged} from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

import {ICompliance} from "./interfaces/ICompliance.sol";
import {IComplianceRules} from "./interfaces/IComplianceRules.sol";
import {IEnergyLedger} from "./interfaces/IEnergyLedger.sol";
import {IIdentityRegistry} from "./interfaces/IIdentityRegistry.sol";
import {Calendar} from "./libraries/Calendar.sol";
import {AccountWordLibrary} from "./types/AccountWord.sol";
import {OrderRow, OrderRowLibrary} from "./types/OrderRow.sol";

/// @title Compliance: one market's rules, one word an account
/// @notice What does not depend on a batch is pushed into the account's word of the ledger, so that a
/// market without yearly caps settles without asking.
contract Compliance is IComplianceRules, AccessManaged {
    using SafeCast for uint256;

    /// @dev What the rows of a batch share.
    struct Batch {
        Rules rules;
        uint256 generation;
        uint256 overAt;
        uint256 year;
    }

    uint256 private constant _SELL = 1;
    uint256 private constant _NO_CAP = type(uint48).max;
    uint256 private constant _UNITS_PER_WH = 1e15;

    /// @notice The ledger whose market this is
    IEnergyLedger public immutable ledger;

    uint256 private immutable _intervalS;

    /* STORAGE */

    Rules private _rules;
    /// @inheritdoc IComplianceRules
    address public identityRegistry;
    /// @notice How often the identity registry was named; 0 before the first time
    uint16 public identityGeneration;

    mapping(address account => Member) private _members;
    mapping(address account => uint256 amount) private _frozen;

    constructor(address authority, IEnergyLedger ledger_) AccessManaged(authority) {
        ledger = ledger_;
        _intervalS = ledger_.intervalS();
    }

    /* RULES */

    /// @inheritdoc IComplianceRules
    function setRules(Rules calldata newRules) external restricted {
        _rules = newRules;
        emit RulesSet(
            newRules.allowList, newRules.licences, newRules.saleCapWh, newRules.licenceGraceS
        );
    }

    /// @inheritdoc IComplianceRules
    function setIdentityRegistry(address registry) external restricted {
        if (registry != address(0) && registry.code.length == 0) {
            revert IdentityRegistryInvalid(registry);
        }
        identityRegistry = registry;
        identityGeneration += 1;
        emit IdentityRegistrySet(registry, identityGeneration);
    }

    /* MEMBERS */

    /// @inheritdoc IComplianceRules
    function setListed(address account, bool listed) external restricted {
        _members[account].listed = listed;
        emit ListedSet(account, listed);
        _push(account);
    }

    /// @inheritdoc IComplianceRules
    function setExempt(address account, bool exempt) external restricted {
        _members[account].exempt = exempt;
        emit ExemptSet(account, exempt);
        _push(account);
    }

    /// @inheritdoc IComplianceRules
    function setLicence(address account, uint40 licenceUntil) external restricted {
        _members[account].licenceUntil = licenceUntil;
        emit LicenceSet(account, licenceUntil);
        _push(account);
    }

    /// @inheritdoc IComplianceRules
    function setSaleCap(address account, uint48 saleCapWh) external restricted {
        _members[account].saleCapWh = saleCapWh;
        emit SaleCapSet(account, saleCapWh);
    }

    /// @inheritdoc IComplianceRules
    function setBlocked(address account, bool sending, bool receiving) external restricted {
        Member storage member = _members[account];
        member.sendBlocked = sending;
        member.receiveBlocked = receiving;
        emit BlockedSet(account, sending, receiving);
        _push(account);
    }

    /// @inheritdoc ICompliance
    function setFrozenTokens(address account, uint256 amount) external {
        if (msg.sender != ledger.energyToken()) revert EnergyTokenOnly(msg.sender);
        _frozen[account] = amount;
        emit FrozenTokensSet(account, amount);
    }

    /// @inheritdoc IComplianceRules
    /// @dev A registry that fails makes this fail: whoever calls it with too little gas for the registry
    /// must not thereby unmake somebody's verification.
    function refresh(address account) external {
        if (identityRegistry != address(0)) {
            bool verified = IIdentityRegistry(identityRegistry).isVerified(account);
            Member storage member = _members[account];
            if (verified != (member.verifiedIn == identityGeneration)) {
                member.verifiedIn = verified ? identityGeneration : 0;
                emit VerifiedSet(account, verified);
            }
        }
        _push(account);
    }

    /* BATCHES */

    /// @inheritdoc ICompliance
    function afterBatch(uint64 deliveryStart, bytes calldata rows) external {
        if (msg.sender != address(ledger)) revert LedgerOnly(msg.sender);
        Batch memory batch = Batch({
            rules: _rules,
            generation: identityRegistry == address(0) ? 0 : identityGeneration,
            overAt: deliveryStart + _intervalS,
            year: Calendar.yearOf(deliveryStart)
        });
        uint256 cursor;
        assembly ("memory-safe") {
            cursor := rows.offset
        }
        uint256 end = cursor + rows.length;
        while (cursor < end) {
            cursor = _bookAccount(batch, cursor, end);
        }
    }

    /* VIEWS */

    /// @inheritdoc ICompliance
    function canSend(address account) public view returns (bool) {
        Member memory member = _members[account];
        return !member.sendBlocked && _isLicensed(_rules, member, block.timestamp + 1)
            && _isAdmitted(member, _isVerified(member, account));
    }

    /// @inheritdoc ICompliance
    function canReceive(address account) public view returns (bool) {
        Member memory member = _members[account];
        return !member.receiveBlocked && _isAdmitted(member, _isVerified(member, account));
    }

    /// @inheritdoc ICompliance
    function canTransfer(address from, address to, uint256 amount) external view returns (bool) {
        uint256 frozen = _frozen[from];
        if (frozen != 0 && amount > _unfrozen(from, frozen)) return false;
        return canSend(from) && canReceive(to);
    }

    /// @inheritdoc ICompliance
    function getFrozenTokens(address account) external view returns (uint256 amount) {
        return _frozen[account];
    }

    /// @inheritdoc IComplianceRules
    function rules() external view returns (Rules memory) {
        return _rules;
    }

    /// @inheritdoc IComplianceRules
    function memberOf(address account) external view returns (Member memory) {
        return _members[account];
    }

    /// @inheritdoc IComplianceRules
    function saleCapOf(address account) external view returns (uint256 capWh) {
        return _capWh(_rules, _members[account]);
    }

    /// @inheritdoc IComplianceRules
    function salesOf(address account, uint256 year) external view returns (uint256 soldWh) {
        Member memory member = _members[account];
        if (year == member.year) return member.soldWh;
        return year + 1 == member.year ? member.soldBeforeWh : 0;
    }

    /// @inheritdoc IComplianceRules
    function flagsOf(address account) public view returns (uint256) {
        Member memory member = _members[account];
        Rules memory rules_ = _rules;
        bool admitted = _isAdmitted(
            member, identityRegistry == address(0) || member.verifiedIn == identityGeneration
        );
        uint256 licensedAt = block.timestamp + 1;
        licensedAt = licensedAt > rules_.licenceGraceS ? licensedAt - rules_.licenceGraceS : 0;
        bool sends = admitted && !member.sendBlocked && _isLicensed(rules_, member, licensedAt);
        bool receives = admitted && !member.receiveBlocked;
        return
            (sends ? 0 : AccountWordLibrary.NO_SEND)
                | (receives ? 0 : AccountWordLibrary.NO_RECEIVE);
    }

    /* INTERNAL */

    /// @dev Carry an account's flags into the ledger, if this contract is in force there.
    function _push(address account) private {
        if (ledger.compliance() != address(this)) return;
        (,,,, uint256 flags) = ledger.accountOf(account);
        uint256 due = flagsOf(account);
        if (flags != due) ledger.setAccountFlags(account, uint8(due));
    }

    /// @dev Check and book one account's rows, which stand together; return where the next's begin.
    function _bookAccount(Batch memory batch, uint256 cursor, uint256 end)
        private
        returns (uint256)
    {
        address account = OrderRow.wrap(cursor).account();
        bool sells;
        bool buys;
        uint256 soldWh;
        unchecked {
            do {
                OrderRow row = OrderRow.wrap(cursor);
                if (row.side() == _SELL) {
                    sells = true;
                    soldWh += uint48(row.amounts() >> 160); // executed
                } else {
                    buys = true;
                }
                cursor += OrderRowLibrary.LENGTH;
            } while (cursor < end && OrderRow.wrap(cursor).account() == account);
        }
        Member memory member = _members[account];
        _checkAdmitted(batch, member, account);
        if (buys && member.receiveBlocked) revert AccountReceiveBlocked(account);
        if (sells) _bookSale(batch, member, account, soldWh);
        return cursor;
    }

    function _checkAdmitted(Batch memory batch, Member memory member, address account)
        private
        pure
    {
        if (member.exempt) return;
        if (batch.rules.allowList && !member.listed) revert AccountNotListed(account);
        if (batch.generation != 0 && member.verifiedIn != batch.generation) {
            revert AccountNotVerified(account);
        }
    }

    function _bookSale(Batch memory batch, Member memory member, address account, uint256 energyWh)
        private
    {
        if (member.sendBlocked) revert AccountSendBlocked(account);
        if (!_isLicensed(batch.rules, member, batch.overAt)) {
            revert AccountLicenceOver(account, member.licenceUntil, batch.overAt);
        }
        Member storage slot = _members[account];
        if (batch.year > member.year) _openYear(slot, member, batch.year);
        bool latest = batch.year == member.year;
        if (!latest && batch.year + 1 != member.year) {
            revert AccountYearPassed(account, batch.year, member.year);
        }
        uint256 soldWh = energyWh + (latest ? member.soldWh : member.soldBeforeWh);
        uint256 capWh = _capWh(batch.rules, member);
        if (soldWh > capWh) revert AccountSaleCapExceeded(account, soldWh, capWh);
        if (latest) slot.soldWh = uint48(soldWh); // a cap has at most 48 bits
        else slot.soldBeforeWh = uint48(soldWh);
    }

    /// @dev Settlements come out of order, so the year before stays open too.
    function _openYear(Member storage slot, Member memory member, uint256 year) private {
        member.soldBeforeWh = year == uint256(member.year) + 1 ? member.soldWh : 0;
        member.soldWh = 0;
        member.year = year.toUint16();
        slot.soldBeforeWh = member.soldBeforeWh;
        slot.year = member.year;
    }

    /// @dev Whether the account may take part at all.
    function _isAdmitted(Member memory member, bool verified) private view returns (bool) {
        return member.exempt || (verified && (member.listed || !_rules.allowList));
    }

    /// @dev Whether no licence is needed, or the account's lasts until `neededUntil`.
    function _isLicensed(Rules memory rules_, Member memory member, uint256 neededUntil)
        private
        pure
        returns (bool)
    {
        return !rules_.licences || member.exempt || member.licenceUntil >= neededUntil;
    }

    /// @dev Token units that are left free when so many are frozen.
    function _unfrozen(address account, uint256 frozen) private view returns (uint256) {
        (uint256 energyWh,,,,) = ledger.accountOf(account);
        uint256 balance = energyWh * _UNITS_PER_WH;
        return balance > frozen ? balance - frozen : 0;
    }

    function _capWh(Rules memory rules_, Member memory member) private pure returns (uint256) {
        if (member.saleCapWh != 0) return member.saleCapWh;
        return rules_.saleCapWh == 0 ? _NO_CAP : rules_.saleCapWh;
    }

    /// @dev Ask the identity registry; one that fails, or answers anything but true, vouches for nobody.
    function _isVerified(Member memory member, address account) private view returns (bool) {
        address registry = identityRegistry;
        if (registry == address(0) || member.exempt) return true;
        (bool success, bytes memory answer) =
            registry.staticcall(abi.encodeCall(IIdentityRegistry.isVerified, (account)));
        return success && uint256(bytes32(answer)) == 1; // shorter answers end in zeros
    }
}
