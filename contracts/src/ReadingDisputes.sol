// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

import {IEnergyLedger} from "./interfaces/IEnergyLedger.sol";
import {IReadingDisputes} from "./interfaces/IReadingDisputes.sol";
import {ISmartMeter} from "./interfaces/ISmartMeter.sol";
import {CompactSignature} from "./libraries/CompactSignature.sol";
import {ReadingHash} from "./libraries/ReadingHash.sol";
import {OrderRow, OrderRowLibrary} from "./types/OrderRow.sol";
import {PackedReading} from "./types/PackedReading.sol";

/// @title ReadingDisputes: evidence against settled intervals, and who pays when it holds
contract ReadingDisputes is IReadingDisputes, ReentrancyGuardTransient {
    using SafeCast for uint256;
    using SafeERC20 for IERC20;

    /// @dev What `bondOf` shows.
    struct Bond {
        uint96 moneyMicro;
        uint96 leavingMicro;
        uint40 availableAt;
    }

    bytes32 private constant _SETTLEMENT_TYPE_HASH = keccak256(
        "Settlement(uint64 deliveryStart,uint32 revision,bytes32 batchHash,bytes32 readingsRoot,"
        "bytes32 receiptsRoot)"
    );
    uint256 private constant _SELLS = 1;
    uint256 private constant _WINDOW = 96;

    /// @notice The ledger that the settlements are for
    IEnergyLedger public immutable ledger;
    /// @notice Whose meters
    ISmartMeter public immutable registry;
    /// @notice What bonds are in: the ledger's currency
    IERC20 public immutable currency;
    /// @notice Who gets the half of a forfeit that is no bounty; not the settler, which could lie then
    /// for half the price
    address public immutable community;
    /// @notice What evidence earns; a forfeit is twice that
    uint256 public immutable bountyMicro;
    /// @notice Seconds from asking for a bond to having it
    uint256 public immutable bondDelayS;

    /// @inheritdoc IReadingDisputes
    uint256 public forfeitsMicro;

    mapping(address account => Bond) private _bonds;
    mapping(bytes32 settlementKey => Finding) private _findings;

    constructor(
        IEnergyLedger ledger_,
        ISmartMeter registry_,
        address community_,
        uint256 bountyMicro_,
        uint256 bondDelayS_
    ) {
        if (community_ == address(0)) revert ConfigurationInvalid("community");
        if (bountyMicro_ == 0) revert ConfigurationInvalid("bountyMicro");
        if (bondDelayS_ == 0) revert ConfigurationInvalid("bondDelayS");
        ledger = ledger_;
        registry = registry_;
        currency = IERC20(ledger_.currency());
        community = community_;
        bountyMicro = bountyMicro_;
        bondDelayS = bondDelayS_;
    }

    /* BONDS */

    /// @inheritdoc IReadingDisputes
    function postBond(address account, uint256 moneyMicro)
        external
        nonReentrant
        returns (uint256 creditedMicro)
    {
        if (account == address(0)) revert RecipientInvalid(account);
        uint256 before = currency.balanceOf(address(this));
        currency.safeTransferFrom(msg.sender, address(this), moneyMicro);
        creditedMicro = currency.balanceOf(address(this)) - before;
        if (creditedMicro == 0) revert AmountZero();
        Bond storage bond = _bonds[account];
        bond.moneyMicro = (creditedMicro + bond.moneyMicro).toUint96();
        emit BondPosted(account, msg.sender, creditedMicro);
    }

    /// @inheritdoc IReadingDisputes
    function requestBondWithdrawal(uint256 moneyMicro) external nonReentrant {
        Bond storage bond = _bonds[msg.sender];
        if (moneyMicro > bond.moneyMicro) {
            revert BondInsufficient(msg.sender, bond.moneyMicro, moneyMicro);
        }
        uint256 availableAt = moneyMicro == 0 ? 0 : block.timestamp + bondDelayS;
        bond.leavingMicro = moneyMicro.toUint96();
        bond.availableAt = availableAt.toUint40();
        emit BondWithdrawalRequested(msg.sender, moneyMicro, availableAt);
    }

    /// @inheritdoc IReadingDisputes
    function withdrawBond(address to) external nonReentrant returns (uint256 moneyMicro) {
        Bond storage bond = _bonds[msg.sender];
        moneyMicro = Math.min(bond.leavingMicro, bond.moneyMicro);
        if (moneyMicro == 0) revert BondWithdrawalNotRequested(msg.sender);
        if (block.timestamp < bond.availableAt) {
            revert BondWithdrawalTooEarly(msg.sender, bond.availableAt);
        }
        if (to == address(0) || to == address(this)) revert RecipientInvalid(to);
        bond.moneyMicro -= uint96(moneyMicro);
        bond.leavingMicro = 0;
        bond.availableAt = 0;
        emit BondWithdrawn(msg.sender, to, moneyMicro);
        currency.safeTransfer(to, moneyMicro);
    }

    /// @inheritdoc IReadingDisputes
    function collectForfeits() external nonReentrant {
        uint256 moneyMicro = forfeitsMicro;
        forfeitsMicro = 0;
        emit ForfeitsCollected(community, moneyMicro);
        currency.safeTransfer(community, moneyMicro);
    }

    /* EVIDENCE */

    /// @inheritdoc IReadingDisputes
    function disputeMeter(
        Settlement calldata settlement,
        uint256 deviceId,
        SettledReading calldata settled,
        uint256 other,
        bytes calldata otherSignature
    ) external nonReentrant returns (uint256 bounty) {
        _checkSettlement(settlement);
        ISmartMeter.Meter memory meter = registry.meterOf(deviceId);
        if (msg.sender == meter.account) revert SelfDispute(msg.sender);
        if (meter.suspended) revert MeterAlreadyDisputed(deviceId);
        _checkSigned(deviceId, settled.reading, settled.signature);
        _checkSigned(deviceId, other, otherSignature);
        _checkInTree(settlement.readingsRoot, deviceId, settled);
        bool inEnergy = _checkContradiction(deviceId, settled.reading, other);
        _note(settlement, Finding.MeterContradicted);
        emit MeterContradicted(
            deviceId,
            settlement.signer,
            settlement.deliveryStart,
            settlement.revision,
            settled.reading,
            other
        );
        bounty = inEnergy ? _forfeit(meter.account) : 0;
        registry.suspendMeter(deviceId);
        _pay(bounty);
    }

    /// @inheritdoc IReadingDisputes
    function disputeSettlement(
        Settlement calldata settlement,
        bytes calldata rows,
        address account,
        MeterSpan[] calldata meters
    ) external nonReentrant returns (uint256 bounty) {
        _checkSettlement(settlement);
        if (msg.sender == settlement.signer) revert SelfDispute(msg.sender);
        _checkOnLedger(account, settlement.deliveryStart);
        uint256 mintedWh = _mintedWh(settlement.batchHash, rows, account);
        uint256 producedWh = _producedWh(settlement, account, meters);
        if (mintedWh <= producedWh) revert MintIsCovered(account, mintedWh, producedWh);
        _note(settlement, Finding.SignerLied);
        emit SignerLied(
            settlement.signer,
            settlement.deliveryStart,
            account,
            settlement.revision,
            mintedWh,
            producedWh
        );
        bounty = _forfeit(settlement.signer);
        _pay(bounty);
    }

    /// @inheritdoc IReadingDisputes
    function disputeReading(
        Settlement calldata settlement,
        uint256 deviceId,
        SettledReading calldata settled
    ) external nonReentrant returns (uint256 bounty) {
        _checkSettlement(settlement);
        if (msg.sender == settlement.signer) revert SelfDispute(msg.sender);
        _checkInTree(settlement.readingsRoot, deviceId, settled);
        _checkInvented(deviceId, settled);
        _note(settlement, Finding.SignerLied);
        emit ReadingInvented(
            settlement.signer,
            settlement.deliveryStart,
            deviceId,
            settlement.revision,
            settled.reading
        );
        bounty = _forfeit(settlement.signer);
        _pay(bounty);
    }

    /* VIEWS */

    /// @inheritdoc IReadingDisputes
    function bondOf(address account) external view returns (uint256, uint256, uint256) {
        Bond memory bond = _bonds[account];
        return (bond.moneyMicro, bond.leavingMicro, bond.availableAt);
    }

    /// @inheritdoc IReadingDisputes
    function isBonded(address account) external view returns (bool) {
        Bond memory bond = _bonds[account];
        return bond.moneyMicro >= 2 * bountyMicro + bond.leavingMicro;
    }

    /// @inheritdoc IReadingDisputes
    function findingOf(address signer, uint64 deliveryStart, uint32 revision)
        external
        view
        returns (Finding)
    {
        return _findings[_key(signer, deliveryStart, revision)];
    }

    /// @inheritdoc IReadingDisputes
    function settlementDigest(Settlement calldata settlement) public view returns (bytes32) {
        bytes32 structHash = keccak256(
            abi.encode(
                _SETTLEMENT_TYPE_HASH,
                settlement.deliveryStart,
                settlement.revision,
                settlement.batchHash,
                settlement.readingsRoot,
                settlement.receiptsRoot
            )
        );
        return MessageHashUtils.toTypedDataHash(ledger.domainSeparator(), structHash);
    }

    /* CHECKS */

    function _checkSettlement(Settlement calldata settlement) private view {
        address signer = settlement.signer;
        if (_bonds[signer].moneyMicro == 0) revert SignerUnbonded(signer);
        bytes32 digest = settlementDigest(settlement);
        if (!CompactSignature.isBy(signer, digest, settlement.r, settlement.vs)) {
            revert SettlementSignatureInvalid(signer);
        }
    }

    /// @dev Also of a meter that is revoked by now: revocation excuses nothing.
    function _checkSigned(uint256 deviceId, uint256 reading, bytes calldata signature)
        private
        view
    {
        if (!registry.isSigned(deviceId, reading, signature)) {
            revert ReadingNotSigned(deviceId, reading);
        }
    }

    function _checkInTree(bytes32 root, uint256 deviceId, SettledReading calldata settled)
        private
        view
    {
        PackedReading reading = PackedReading.wrap(settled.reading);
        if (!reading.isCanonical() || settled.signature.length != ReadingHash.SIGNATURE_LENGTH) {
            revert ReadingNotInSettlement(deviceId, settled.reading);
        }
        bytes32 leaf = ReadingHash.leaf(
            ReadingHash.digest(ledger.domainSeparator(), deviceId, reading, settled.signature),
            bytes32(settled.signature[:32]),
            bytes32(settled.signature[32:64])
        );
        if (!MerkleProof.verifyCalldata(settled.proof, root, leaf)) {
            revert ReadingNotInSettlement(deviceId, settled.reading);
        }
    }

    /// @dev The registry knows the key that `deviceId` is the hash of, and this key did not sign.
    /// `_checkInTree` has refused what is not in the form of a signed reading; a check that runs out of
    /// gas leaves too little of it to say that anything was invented.
    function _checkInvented(uint256 deviceId, SettledReading calldata settled) private view {
        if (registry.meterOf(deviceId).account == address(0)) revert MeterUnregistered(deviceId);
        if (registry.isSigned(deviceId, settled.reading, settled.signature)) {
            revert ReadingIsSigned(deviceId, settled.reading);
        }
    }

    /// @dev True when the registers contradict one another, false when only the numbering does.
    function _checkContradiction(uint256 deviceId, uint256 settled, uint256 other)
        private
        view
        returns (bool inEnergy)
    {
        PackedReading a = PackedReading.wrap(settled);
        PackedReading b = PackedReading.wrap(other);
        bool oneEpoch =
            registry.epochOf(deviceId, a.timestamp()) == registry.epochOf(deviceId, b.timestamp());
        inEnergy = a.contradictsEnergy(b);
        if (!oneEpoch || !(inEnergy || a.contradictsOrder(b))) {
            revert ReadingsDoNotContradict(settled, other);
        }
    }

    /// @dev The account's interval is used, or so long ago that the ledger's window has passed it.
    function _checkOnLedger(address account, uint64 deliveryStart) private view {
        uint256 genesis = ledger.genesis();
        (,, uint256 latest, uint256 used,) = ledger.accountOf(account);
        uint256 latestStart = genesis + latest * ledger.intervalS();
        if (deliveryStart < genesis || deliveryStart > latestStart) {
            revert SettlementNotOnLedger(account, deliveryStart);
        }
        uint256 behind = (latestStart - deliveryStart) / ledger.intervalS();
        if (behind < _WINDOW && used >> behind & 1 == 0) {
            revert SettlementNotOnLedger(account, deliveryStart);
        }
    }

    /// @dev What the batch mints for the account.
    function _mintedWh(bytes32 batchHash, bytes calldata rows, address account)
        private
        pure
        returns (uint256 mintedWh)
    {
        if (keccak256(rows) != batchHash || rows.length % OrderRowLibrary.LENGTH != 0) {
            revert RowsInvalid(keccak256(rows), rows.length);
        }
        uint256 place;
        assembly ("memory-safe") {
            place := rows.offset
        }
        for (uint256 end = place + rows.length; place < end; place += OrderRowLibrary.LENGTH) {
            OrderRow row = OrderRow.wrap(place);
            // No account is zero; what begins so is the encoding of something else.
            if (row.account() == address(0)) revert RowsInvalid(batchHash, rows.length);
            if (row.account() != account || row.side() != _SELLS) continue;
            mintedWh += uint48(row.amounts() >> 64);
        }
    }

    /// @dev What the account's meters gave at most in the interval, by the signer's own readings.
    function _producedWh(
        Settlement calldata settlement,
        address account,
        MeterSpan[] calldata meters
    ) private view returns (uint256 producedWh) {
        uint256 registered = registry.meterCountOf(account);
        if (meters.length != registered) {
            revert MetersIncomplete(account, meters.length, registered);
        }
        uint256 lastOrigin;
        for (uint256 i; i < meters.length; ++i) {
            uint256 deviceId = meters[i].deviceId;
            uint256 origin = registry.originOf(deviceId);
            if (origin <= lastOrigin) revert MetersNotAscending(deviceId);
            if (registry.meterOf(deviceId).account != account) {
                revert MeterNotOfAccount(deviceId, account);
            }
            lastOrigin = origin;
            producedWh += _spanWh(settlement, meters[i]);
        }
    }

    /// @dev What one meter gave from its opening to its closing reading. The tree is the signer's, so
    /// whether the meter signed them is the signer's business; if not, `disputeReading` says so.
    function _spanWh(Settlement calldata settlement, MeterSpan calldata span)
        private
        view
        returns (uint256)
    {
        uint256 deviceId = span.deviceId;
        _checkInTree(settlement.readingsRoot, deviceId, span.opening);
        _checkInTree(settlement.readingsRoot, deviceId, span.closing);
        PackedReading opening = PackedReading.wrap(span.opening.reading);
        PackedReading closing = PackedReading.wrap(span.closing.reading);
        (uint256 openedAt, uint256 closedAt) = (opening.timestamp(), closing.timestamp());
        uint256 deliveryEnd = settlement.deliveryStart + ledger.intervalS();
        if (openedAt > settlement.deliveryStart || closedAt < deliveryEnd) {
            revert SpanTooShort(deviceId, openedAt, closedAt);
        }
        if (registry.epochOf(deviceId, openedAt) != registry.epochOf(deviceId, closedAt)) {
            revert SpanAcrossReset(deviceId);
        }
        (uint256 openingWh, uint256 closingWh) = (opening.productionWh(), closing.productionWh());
        if (closingWh < openingWh) revert SpanFalls(deviceId, openingWh, closingWh);
        return closingWh - openingWh;
    }

    /* EFFECTS */

    /// @dev Of both findings the worse one stays, and each of them is noted once: a meter's by its
    /// suspension, a signer's here.
    function _note(Settlement calldata settlement, Finding finding) private {
        bytes32 key = _key(settlement.signer, settlement.deliveryStart, settlement.revision);
        Finding known = _findings[key];
        if (known != Finding.SignerLied) {
            _findings[key] = finding;
        } else if (finding == Finding.SignerLied) {
            revert SettlementAlreadyDisputed(
                settlement.signer, settlement.deliveryStart, settlement.revision
            );
        }
    }

    /// @dev Half to the caller, half to the community.
    function _forfeit(address account) private returns (uint256 bounty) {
        Bond storage bond = _bonds[account];
        uint256 moneyMicro = Math.min(bond.moneyMicro, 2 * bountyMicro);
        bond.moneyMicro -= uint96(moneyMicro);
        bounty = moneyMicro / 2;
        forfeitsMicro += moneyMicro - bounty;
        if (moneyMicro != 0) emit BondForfeited(account, msg.sender, moneyMicro);
    }

    /// @dev Pay the caller, last of all.
    function _pay(uint256 bounty) private {
        if (bounty != 0) currency.safeTransfer(msg.sender, bounty);
    }

    function _key(address signer, uint64 deliveryStart, uint32 revision)
        private
        pure
        returns (bytes32)
    {
        return keccak256(abi.encode(signer, deliveryStart, revision));
    }
}
