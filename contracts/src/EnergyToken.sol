// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {AccessManaged} from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {IERC165} from "@openzeppelin/contracts/utils/introspection/IERC165.sol";

import {SmartMeterRegistry} from "./SmartMeterRegistry.sol";
import {ICertificates} from "./interfaces/ICertificates.sol";
import {ICompliance} from "./interfaces/ICompliance.sol";
import {IERC7943Fungible} from "./interfaces/IERC7943.sol";
import {IEnergyLedger} from "./interfaces/IEnergyLedger.sol";
import {IEnergyToken} from "./interfaces/IEnergyToken.sol";
import {Sources} from "./libraries/Sources.sol";
import {AccountWordLibrary} from "./types/AccountWord.sol";
import {Certificate, CertificateLibrary} from "./types/Certificate.sol";

/// @title EnergyToken: the ERC-20 face of the ledger's energy column
/// @notice 1 token = 1 kWh with 18 decimals; the ledger counts whole Wh, so amounts are multiples
/// of 1e15. It holds no balances of its own. A settlement changes balances with one `BatchSettled`
/// event of the ledger instead of one `Transfer` per account.
contract EnergyToken is
    IEnergyToken,
    IERC7943Fungible,
    ERC20,
    ERC20Permit,
    AccessManaged,
    ReentrancyGuardTransient
{
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
    error ComplianceAbsent();

    uint256 private constant _UNITS_PER_WH = 1e15;

    /// @notice The ledger that holds the balances
    IEnergyLedger public immutable ledger;
    /// @notice Where producers' meters are registered
    SmartMeterRegistry public immutable registry;
    /// @notice Where certificates are held
    ICertificates public immutable certificates;

    mapping(address producer => Minted) private _minted;

    constructor(
        address authority,
        IEnergyLedger ledger_,
        SmartMeterRegistry registry_,
        ICertificates certificates_
    ) ERC20("Energy Trade kWh", "kWh") ERC20Permit("Energy Trade kWh") AccessManaged(authority) {
        ledger = ledger_;
        registry = registry_;
        certificates = certificates_;
    }

    /* ENERGY */

    /// @inheritdoc IEnergyToken
    function mintEnergyTokens(address producer, uint256 amount, uint8 sourceType)
        external
        nonReentrant
        restricted
        returns (uint256 tokenId)
    {
        if (!Sources.isKnown(sourceType)) revert SourceUnknown(sourceType);
        tokenId = _certify(producer, amount, sourceType);
        certificates.issue(producer, tokenId);
        _mint(producer, amount);
    }

    /// @inheritdoc IEnergyToken
    function mintStoredEnergy(
        address producer,
        uint256 amount,
        uint256[] calldata ids,
        uint256[] calldata energiesWh
    ) external nonReentrant restricted returns (uint256 tokenId) {
        tokenId = _certify(producer, amount, Sources.STORAGE);
        certificates.issueStored(producer, tokenId, ids, energiesWh);
        _mint(producer, amount);
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

    /* COMPLIANCE */

    /// @inheritdoc IERC7943Fungible
    function setFrozenTokens(address account, uint256 amount)
        external
        nonReentrant
        restricted
        returns (bool)
    {
        _freeze(account, amount);
        return true;
    }

    /// @inheritdoc IERC7943Fungible
    function forcedTransfer(address from, address to, uint256 amount)
        external
        nonReentrant
        restricted
        returns (bool)
    {
        if (from == address(0)) revert ERC20InvalidSender(from);
        if (to == address(0)) revert ERC20InvalidReceiver(to);
        if (!canReceive(to)) revert ERC7943CannotReceive(to);
        (uint256 balance, uint256 unfrozen) = _holdings(from);
        if (amount > balance) revert ERC20InsufficientBalance(from, balance, amount);
        if (amount > unfrozen) _freeze(from, getFrozenTokens(from) - (amount - unfrozen));
        _book(from, to, amount);
        emit ForcedTransfer(from, to, amount);
        return true;
    }

    /* VIEWS */

    /// @notice Unpack a certificate; reverts when it was never issued
    function energyUnit(uint256 tokenId) external view returns (EnergyUnit memory) {
        return certificates.energyUnit(tokenId);
    }

    /// @inheritdoc IERC165
    function supportsInterface(bytes4 interfaceId) external pure returns (bool) {
        return interfaceId == type(IERC7943Fungible).interfaceId
            || interfaceId == type(IERC165).interfaceId;
    }

    function totalSupply() public view override returns (uint256) {
        return ledger.energyWhTotal() * _UNITS_PER_WH;
    }

    function balanceOf(address account) public view override returns (uint256) {
        (uint256 energyWh,,,,) = ledger.accountOf(account);
        return energyWh * _UNITS_PER_WH;
    }

    /// @inheritdoc IERC7943Fungible
    function canSend(address account) public view returns (bool) {
        return !_isFlagged(account, AccountWordLibrary.NO_SEND)
            && _isAllowed(abi.encodeCall(ICompliance.canSend, (account)));
    }

    /// @inheritdoc IERC7943Fungible
    function canReceive(address account) public view returns (bool) {
        return !_isFlagged(account, AccountWordLibrary.NO_RECEIVE)
            && _isAllowed(abi.encodeCall(ICompliance.canReceive, (account)));
    }

    /// @inheritdoc IERC7943Fungible
    function canTransfer(address from, address to, uint256 amount) public view returns (bool) {
        return !_isFlagged(from, AccountWordLibrary.NO_SEND)
            && !_isFlagged(to, AccountWordLibrary.NO_RECEIVE)
            && _isAllowed(abi.encodeCall(ICompliance.canTransfer, (from, to, amount)));
    }

    /// @inheritdoc IERC7943Fungible
    function getFrozenTokens(address account) public view returns (uint256) {
        return _ask(abi.encodeCall(ICompliance.getFrozenTokens, (account)), 0, type(uint256).max);
    }

    /* INTERNAL */

    /// @dev OpenZeppelin's one place where balances change: here they change in the ledger, after
    /// compliance was asked. Who may be minted for is checked with the certificate.
    function _update(address from, address to, uint256 value) internal override {
        if (to == address(0)) _checkBurn(from, value);
        else if (from != address(0)) _checkTransfer(from, to, value);
        _book(from, to, value);
    }

    function _book(address from, address to, uint256 value) private {
        uint256 energyWh = _wholeWh(value);
        if (from == address(0)) ledger.mintEnergy(to, energyWh);
        else if (to == address(0)) ledger.burnEnergy(from, energyWh);
        else ledger.moveEnergy(from, to, energyWh);
        emit Transfer(from, to, value);
    }

    function _freeze(address account, uint256 amount) private {
        address compliance = ledger.compliance();
        if (compliance == address(0)) revert ComplianceAbsent();
        emit Frozen(account, amount);
        ICompliance(compliance).setFrozenTokens(account, amount);
    }

    /// @dev Make the certificate's id and count its energy against the producer's cap in the interval
    /// that ended last. The first mint uses the interval up in the ledger: a settlement and a direct
    /// mint exclude each other.
    function _certify(address producer, uint256 amount, uint8 source) private returns (uint256 id) {
        uint256 energyWh = _wholeWh(amount);
        if (energyWh == 0) revert AmountZero();
        uint256 deviceId = registry.deviceOf(producer);
        if (deviceId == 0) revert ProducerWithoutMeter(producer);
        if (!canReceive(producer)) revert ERC7943CannotReceive(producer);
        uint256 durationS = ledger.intervalS();
        Minted memory minted = _count(producer, deviceId, energyWh, durationS);
        id = Certificate.unwrap(
            CertificateLibrary.pack(
                deviceId,
                minted.start,
                durationS,
                source,
                minted.certificates,
                source == Sources.STORAGE,
                energyWh
            )
        );
        emit EnergyMinted(id, producer, deviceId, amount, source);
    }

    function _count(address producer, uint256 deviceId, uint256 energyWh, uint256 durationS)
        private
        returns (Minted memory minted)
    {
        uint64 start = uint64(block.timestamp - block.timestamp % durationS - durationS);
        minted = _minted[producer];
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
    }

    /// @dev One question when all is well; the reason is only looked for when it is not.
    function _checkTransfer(address from, address to, uint256 value) private view {
        if (canTransfer(from, to, value)) return;
        if (!canSend(from)) revert ERC7943CannotSend(from);
        if (!canReceive(to)) revert ERC7943CannotReceive(to);
        _checkUnfrozen(from, value);
        revert ERC7943CannotTransfer(from, to, value);
    }

    function _checkBurn(address from, uint256 value) private view {
        if (!canSend(from)) revert ERC7943CannotSend(from);
        _checkUnfrozen(from, value);
    }

    function _checkUnfrozen(address from, uint256 value) private view {
        (uint256 balance, uint256 unfrozen) = _holdings(from);
        if (value > balance) revert ERC20InsufficientBalance(from, balance, value);
        if (value > unfrozen) revert ERC7943InsufficientUnfrozenBalance(from, value, unfrozen);
    }

    function _holdings(address account) private view returns (uint256 balance, uint256 unfrozen) {
        balance = balanceOf(account);
        uint256 frozen = getFrozenTokens(account);
        unfrozen = frozen < balance ? balance - frozen : 0;
    }

    /// @dev The ledger refuses flagged accounts in batches; they count here too, also those that a
    /// compliance contract left behind which is no more asked.
    function _isFlagged(address account, uint256 flag) private view returns (bool) {
        (,,,, uint256 flags) = ledger.accountOf(account);
        return flags & flag != 0;
    }

    function _isAllowed(bytes memory question) private view returns (bool) {
        return _ask(question, 1, 0) == 1;
    }

    /// @dev Ask the compliance contract. `unasked` is the answer where there is none, `unanswered`
    /// where it fails: ERC-7943's views never revert, and no answer allows nothing.
    function _ask(bytes memory question, uint256 unasked, uint256 unanswered)
        private
        view
        returns (uint256)
    {
        address compliance = ledger.compliance();
        if (compliance == address(0)) return unasked;
        (bool answered, bytes memory answer) = compliance.staticcall(question);
        return answered && answer.length == 32 ? abi.decode(answer, (uint256)) : unanswered;
    }

    function _wholeWh(uint256 amount) private pure returns (uint256) {
        if (amount % _UNITS_PER_WH != 0) revert AmountNotWholeWh(amount);
        return amount / _UNITS_PER_WH;
    }
}
