// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {AccessManaged} from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {SignedMath} from "@openzeppelin/contracts/utils/math/SignedMath.sol";

import {IEnergyLedger} from "./interfaces/IEnergyLedger.sol";
import {CompactSignature} from "./libraries/CompactSignature.sol";
import {OrderHash, OrderHasher} from "./libraries/OrderHash.sol";
import {AccountWord, AccountWordLibrary} from "./types/AccountWord.sol";
import {OrderRow, OrderRowLibrary} from "./types/OrderRow.sol";

/// @title EnergyLedger
contract EnergyLedger is IEnergyLedger, EIP712, AccessManaged, ReentrancyGuardTransient {
    using SafeCast for uint256;
    using SafeERC20 for IERC20;

    /// @dev An account's only slot.
    struct Account {
        AccountWord word;
    }

    /// @dev What changes for the whole ledger, in one word.
    struct Totals {
        address energyToken;
        bool paused;
        uint88 energyWh;
    }

    /// @dev A batch while it is settled: what its rows share, the row before, and the sums.
    struct Batch {
        OrderHasher hasher;
        uint256 interval; // its epoch and bit, where an account's word has them
        address account;
        bytes32 digest;
        uint256 accountMintedWh;
        int256 boughtWh;
        int256 soldWh;
        int256 paidMicro;
        int256 receivedMicro;
        uint256 mintedWh;
        uint256 burnedWh;
    }

    uint256 private constant _BUY = 0;
    uint256 private constant _SELL = 1;
    int256 private constant _WH_PER_KWH = 1000;
    uint256 private constant _INTERVAL_MAX_S = 1 hours;
    int256 private constant _PRICE_ABSOLUTE_MAX = 1e12;

    /* IMMUTABLES */

    /// @inheritdoc IEnergyLedger
    address public immutable currency;
    /// @inheritdoc IEnergyLedger
    bytes32 public immutable marketHash;
    /// @inheritdoc IEnergyLedger
    uint256 public immutable intervalS;
    /// @inheritdoc IEnergyLedger
    uint256 public immutable genesis;
    /// @inheritdoc IEnergyLedger
    int256 public immutable priceMin;
    /// @inheritdoc IEnergyLedger
    int256 public immutable priceMax;
    /// @inheritdoc IEnergyLedger
    uint256 public immutable meteredMaxWh;

    /* STORAGE */

    mapping(address account => Account) private _accounts;
    Totals private _totals;

    /// @inheritdoc IEnergyLedger
    string public market;

    /// @param authority OpenZeppelin AccessManager that knows the roles
    /// @param market_ the market's id
    /// @param intervalS_ seconds of a delivery interval, at most an hour
    /// @param genesis_ UTC second of interval 0, a multiple of the interval
    /// @param currency_ settlement token; its smallest unit is the money unit
    /// @param priceMin_ lowest price, 1e-6 currency per kWh
    /// @param priceMax_ highest price, 1e-6 currency per kWh
    /// @param meteredMaxWh_ most that one account can produce in an interval
    constructor(
        address authority,
        string memory market_,
        uint256 intervalS_,
        uint256 genesis_,
        address currency_,
        int256 priceMin_,
        int256 priceMax_,
        uint256 meteredMaxWh_
    ) EIP712("Energy Trade", "1") AccessManaged(authority) {
        if (bytes(market_).length == 0) revert ConfigurationInvalid("market");
        if (intervalS_ == 0 || intervalS_ > _INTERVAL_MAX_S) {
            revert ConfigurationInvalid("intervalS");
        }
        if (genesis_ % intervalS_ != 0) revert ConfigurationInvalid("genesis");
        if (currency_.code.length == 0) revert ConfigurationInvalid("currency");
        if (priceMin_ < -_PRICE_ABSOLUTE_MAX || priceMin_ > priceMax_) {
            revert ConfigurationInvalid("priceMin");
        }
        if (priceMax_ > _PRICE_ABSOLUTE_MAX) revert ConfigurationInvalid("priceMax");
        if (meteredMaxWh_ == 0 || meteredMaxWh_ > type(uint48).max) {
            revert ConfigurationInvalid("meteredMaxWh");
        }
        market = market_;
        marketHash = keccak256(bytes(market_));
        intervalS = intervalS_;
        genesis = genesis_;
        currency = currency_;
        priceMin = priceMin_;
        priceMax = priceMax_;
        meteredMaxWh = meteredMaxWh_;
    }

    modifier onlyEnergyToken() {
        if (msg.sender != _totals.energyToken) revert EnergyTokenOnly(msg.sender);
        _;
    }

    /* MONEY */

    /// @inheritdoc IEnergyLedger
    function deposit(uint256 moneyMicro) external nonReentrant returns (uint256) {
        return _deposit(msg.sender, moneyMicro);
    }

    /// @inheritdoc IEnergyLedger
    function depositFor(address account, uint256 moneyMicro)
        external
        nonReentrant
        returns (uint256)
    {
        if (account == address(0)) revert RecipientInvalid(account);
        return _deposit(account, moneyMicro);
    }

    /// @inheritdoc IEnergyLedger
    function withdraw(uint256 moneyMicro, address to) external nonReentrant {
        if (moneyMicro == 0) revert AmountZero();
        if (to == address(0) || to == address(this)) revert RecipientInvalid(to);
        Account storage slot = _accounts[msg.sender];
        AccountWord word = slot.word;
        uint256 held = word.moneyMicro();
        if (moneyMicro > held) revert AccountMoneyInsufficient(msg.sender, held, moneyMicro);
        slot.word = _pack(msg.sender, word.energyWh(), held - moneyMicro, word.replay());
        emit Withdrawn(msg.sender, to, moneyMicro);
        IERC20(currency).safeTransfer(to, moneyMicro);
    }

    /* SETTLEMENT */

    /// @inheritdoc IEnergyLedger
    function settleBatch(
        uint64 deliveryStart,
        bytes32 readingsRoot,
        bytes32 receiptsRoot,
        bytes calldata rows
    ) external nonReentrant restricted {
        Totals memory totals = _totals;
        if (totals.paused) revert TradingPaused();
        Batch memory batch = _open(deliveryStart);
        _settleRows(batch, rows);
        if (batch.soldWh != batch.boughtWh || batch.receivedMicro != batch.paidMicro) {
            revert BatchUnbalanced(
                batch.soldWh - batch.boughtWh, batch.receivedMicro - batch.paidMicro
            );
        }
        _totals.energyWh = (totals.energyWh + batch.mintedWh - batch.burnedWh).toUint88();
        emit BatchSettled(
            deliveryStart,
            keccak256(rows),
            readingsRoot,
            receiptsRoot,
            uint256(batch.boughtWh),
            SignedMath.abs(batch.paidMicro),
            batch.mintedWh,
            batch.burnedWh
        );
    }

    /// @inheritdoc IEnergyLedger
    function cancelInterval(uint64 deliveryStart) external nonReentrant {
        _useInterval(msg.sender, deliveryStart);
        emit IntervalCancelled(msg.sender, deliveryStart);
    }

    /// @inheritdoc IEnergyLedger
    function setPaused(bool stop) external restricted {
        _totals.paused = stop;
        emit PausedSet(stop);
    }

    /* ENERGY */

    /// @inheritdoc IEnergyLedger
    function setEnergyToken(address token) external restricted {
        if (token.code.length == 0 || _totals.energyToken != address(0)) {
            revert EnergyTokenInvalid(token);
        }
        _totals.energyToken = token;
        emit EnergyTokenSet(token);
    }

    /// @inheritdoc IEnergyLedger
    function moveEnergy(address from, address to, uint256 energyWh)
        external
        nonReentrant
        onlyEnergyToken
    {
        _takeEnergy(from, energyWh);
        _giveEnergy(to, energyWh);
    }

    /// @inheritdoc IEnergyLedger
    function mintEnergy(address account, uint256 energyWh) external nonReentrant onlyEnergyToken {
        _giveEnergy(account, energyWh);
        _totals.energyWh += energyWh.toUint88();
    }

    /// @inheritdoc IEnergyLedger
    function burnEnergy(address account, uint256 energyWh) external nonReentrant onlyEnergyToken {
        _takeEnergy(account, energyWh);
        _totals.energyWh -= energyWh.toUint88();
    }

    /// @inheritdoc IEnergyLedger
    function useInterval(address account, uint64 deliveryStart)
        external
        nonReentrant
        onlyEnergyToken
    {
        _useInterval(account, deliveryStart);
    }

    /* VIEWS */

    /// @inheritdoc IEnergyLedger
    function accountOf(address account)
        external
        view
        returns (uint256 energyWh, uint256 moneyMicro, uint256 epoch, uint256 usedIntervals)
    {
        AccountWord word = _accounts[account].word;
        return (word.energyWh(), word.moneyMicro(), word.epoch(), word.usedIntervals());
    }

    /// @inheritdoc IEnergyLedger
    function orderDigest(
        address account,
        uint64 deliveryStart,
        uint8 side,
        uint64 energyWh,
        int64 limitPriceMicroPerKwh,
        bytes32 termsHash
    ) external view returns (bytes32) {
        return OrderHash.prepare(_domainSeparatorV4(), marketHash, deliveryStart)
            .digest(account, side, energyWh, limitPriceMicroPerKwh, termsHash);
    }

    /// @inheritdoc IEnergyLedger
    function domainSeparator() external view returns (bytes32) {
        return _domainSeparatorV4();
    }

    /// @inheritdoc IEnergyLedger
    function energyWhTotal() external view returns (uint256) {
        return _totals.energyWh;
    }

    /// @inheritdoc IEnergyLedger
    function energyToken() external view returns (address) {
        return _totals.energyToken;
    }

    /// @inheritdoc IEnergyLedger
    function paused() external view returns (bool) {
        return _totals.paused;
    }

    /* INTERNAL: SETTLEMENT */

    /// @dev Check that the delivery is over, and prepare what its rows share.
    function _open(uint256 deliveryStart) private view returns (Batch memory batch) {
        batch.interval = _intervalOf(deliveryStart);
        uint256 overAt = deliveryStart + intervalS;
        if (block.timestamp < overAt) revert DeliveryNotOver(deliveryStart, overAt);
        batch.hasher = OrderHash.prepare(_domainSeparatorV4(), marketHash, deliveryStart);
    }

    function _settleRows(Batch memory batch, bytes calldata rows) private {
        if (rows.length == 0 || rows.length % OrderRowLibrary.LENGTH != 0) {
            revert BatchLengthInvalid(rows.length);
        }
        uint256 cursor;
        assembly ("memory-safe") {
            cursor := rows.offset
        }
        uint256 end = cursor + rows.length;
        while (cursor < end) {
            _settleRow(batch, OrderRow.wrap(cursor));
            unchecked {
                cursor += OrderRowLibrary.LENGTH;
            }
        }
    }

    /// @dev Check that the row stands in its place and its owner signed it, execute it and book it.
    function _settleRow(Batch memory batch, OrderRow row) private {
        address account = row.account();
        bytes32 digest = batch.hasher.digest(row);
        uint256 interval; // only an account's first row asks for it
        if (account != batch.account) {
            if (account < batch.account) revert RowAccountNotAscending(account);
            batch.account = account;
            batch.accountMintedWh = 0;
            interval = batch.interval;
        } else if (digest <= batch.digest) {
            revert RowOrderNotAscending(account, digest);
        }
        batch.digest = digest;
        if (!CompactSignature.isBy(account, digest, row.r(), row.vs())) {
            revert RowSignatureInvalid(account, digest);
        }
        (int256 energyWh, int256 moneyMicro) = _execute(batch, row, digest);
        _book(account, interval, energyWh, moneyMicro);
    }

    /// @dev Check an order's execution against what was signed and add it to its side's sums; return
    /// what changes for the account. A buyer pays the value and keeps what it bought and did not
    /// use; a seller receives it and keeps what it produced and did not sell.
    ///
    /// Each trade's value was rounded down by less than one, so the exact value is at least `value`
    /// and below `value + trades`. Nothing overflows: |value|, |limit| <= 2^63 and energies < 2^48.
    function _execute(Batch memory batch, OrderRow row, bytes32 digest)
        private
        view
        returns (int256 energyWh, int256 moneyMicro)
    {
        uint256 amounts = row.amounts();
        int256 executedWh = int256(uint256(uint48(amounts >> 160)));
        int256 meteredWh = int256(uint256(uint48(amounts >> 112)));
        int256 value = int64(uint64(amounts >> 48));
        unchecked {
            int256 high = value + int256(uint256(uint16(amounts >> 32))); // trades
            // Less one, zero is the largest number: each comparison refuses zero and too much.
            if (uint256(executedWh) - 1 >= amounts >> 208) {
                revert RowExecutedInvalid(digest, uint256(executedWh), amounts >> 208);
            }
            if (uint256(high - value) - 1 >= uint256(executedWh)) {
                revert RowTradesInvalid(digest, uint256(high - value), uint256(executedWh));
            }
            if (
                value * _WH_PER_KWH > executedWh * priceMax
                    || high * _WH_PER_KWH <= executedWh * priceMin
            ) revert RowOutsidePriceBand(digest, value);
            int256 atLimit = executedWh * row.limitMicroPerKwh();
            if (row.side() == _BUY) {
                if (value * _WH_PER_KWH > atLimit) revert RowLimitBroken(digest, value);
                (energyWh, moneyMicro) = (executedWh - meteredWh, -value);
                batch.boughtWh += executedWh;
                batch.burnedWh += uint256(meteredWh);
                batch.paidMicro += value;
            } else {
                if (row.side() != _SELL) revert RowSideInvalid(digest, row.side());
                if (high * _WH_PER_KWH <= atLimit) revert RowLimitBroken(digest, value);
                (energyWh, moneyMicro) = (meteredWh - executedWh, value);
                batch.soldWh += executedWh;
                batch.mintedWh += uint256(meteredWh);
                batch.receivedMicro += value;
                batch.accountMintedWh += uint256(meteredWh);
                if (batch.accountMintedWh > meteredMaxWh) {
                    revert AccountMeteredTooMuch(row.account(), batch.accountMintedWh, meteredMaxWh);
                }
            }
            if (energyWh < 0) {
                revert RowMeteredInvalid(digest, uint256(meteredWh), uint256(executedWh));
            }
        }
    }

    /// @dev Write what changes for an account, and its interval when this is its first row.
    function _book(address account, uint256 interval, int256 energyWh, int256 moneyMicro) private {
        Account storage slot = _accounts[account];
        AccountWord word = slot.word;
        uint256 replay = interval == 0 ? word.replay() : _used(word, account, interval);
        unchecked {
            uint256 energy = word.energyWh() + uint256(energyWh); // no row takes energy
            uint256 money = word.moneyMicro() + uint256(moneyMicro); // below zero is a large number
            if ((energy | money) > AccountWordLibrary.BALANCE_MAX) {
                if (int256(money) >= 0) revert AccountOverflow(account);
                revert AccountMoneyInsufficient(account, word.moneyMicro(), uint256(-moneyMicro));
            }
            slot.word = AccountWordLibrary.pack(energy, money, replay);
        }
    }

    /* INTERNAL: ACCOUNTS */

    function _deposit(address account, uint256 moneyMicro) private returns (uint256 creditedMicro) {
        if (_totals.paused) revert TradingPaused();
        uint256 before = IERC20(currency).balanceOf(address(this));
        IERC20(currency).safeTransferFrom(msg.sender, address(this), moneyMicro);
        creditedMicro = IERC20(currency).balanceOf(address(this)) - before;
        if (creditedMicro == 0) revert AmountZero();
        Account storage slot = _accounts[account];
        AccountWord word = slot.word;
        uint256 money = word.moneyMicro() + creditedMicro;
        slot.word = _pack(account, word.energyWh(), money, word.replay());
        emit Deposited(account, msg.sender, creditedMicro);
    }

    function _giveEnergy(address account, uint256 energyWh) private {
        Account storage slot = _accounts[account];
        AccountWord word = slot.word;
        uint256 energy = word.energyWh() + energyWh;
        slot.word = _pack(account, energy, word.moneyMicro(), word.replay());
    }

    function _takeEnergy(address account, uint256 energyWh) private {
        Account storage slot = _accounts[account];
        AccountWord word = slot.word;
        uint256 held = word.energyWh();
        if (energyWh > held) revert AccountEnergyInsufficient(account, held, energyWh);
        slot.word = _pack(account, held - energyWh, word.moneyMicro(), word.replay());
    }

    function _useInterval(address account, uint256 deliveryStart) private {
        Account storage slot = _accounts[account];
        AccountWord word = slot.word;
        uint256 replay = _used(word, account, _intervalOf(deliveryStart));
        slot.word = _pack(account, word.energyWh(), word.moneyMicro(), replay);
    }

    /// @dev The account's word, if its balances fit.
    function _pack(address account, uint256 energyWh, uint256 moneyMicro, uint256 replay)
        private
        pure
        returns (AccountWord)
    {
        if ((energyWh | moneyMicro) > AccountWordLibrary.BALANCE_MAX) {
            revert AccountOverflow(account);
        }
        return AccountWordLibrary.pack(energyWh, moneyMicro, replay);
    }

    /// @dev The replay part of the word with the interval used; its epoch only advances.
    function _used(AccountWord word, address account, uint256 interval)
        private
        pure
        returns (uint256)
    {
        uint256 replay = word.replay();
        if (replay >> AccountWordLibrary.INTERVALS == interval >> AccountWordLibrary.INTERVALS) {
            if (uint96(replay & interval) != 0) revert AccountIntervalUsed(account);
            return replay | interval;
        }
        if (replay > interval) revert AccountEpochPassed(account, word.epoch());
        return interval;
    }

    /// @dev The interval's epoch and its bit, as the replay part of a word has them.
    function _intervalOf(uint256 deliveryStart) private view returns (uint256) {
        if (deliveryStart < genesis) revert DeliveryOutOfRange(deliveryStart);
        uint256 sinceGenesis = deliveryStart - genesis;
        if (sinceGenesis % intervalS != 0) revert DeliveryMisaligned(deliveryStart);
        uint256 index = sinceGenesis / intervalS;
        uint256 epoch = index / AccountWordLibrary.INTERVALS;
        if (epoch > AccountWordLibrary.EPOCH_MAX) revert DeliveryOutOfRange(deliveryStart);
        return (epoch << AccountWordLibrary.INTERVALS) | (1 << index % AccountWordLibrary.INTERVALS);
    }
}
