// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {AccessManaged} from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";

import {IEnergyLedger} from "../interfaces/IEnergyLedger.sol";
import {CompactSignature} from "../libraries/CompactSignature.sol";
import {AccountWord, AccountWordLibrary} from "../types/AccountWord.sol";

/// @title Accounts: the ledger's terms, its storage, and every way in which an account's word changes
abstract contract Accounts is IEnergyLedger, EIP712, AccessManaged {
    /// @dev What a settlement needs of the whole ledger, in one word.
    struct Totals {
        address settler;
        bool paused;
        bool batchRules;
        uint40 feesMicro;
        uint40 energyWh;
    }

    /// @dev No interval's number.
    uint256 internal constant _NOT_AGAIN = type(uint256).max;
    uint256 private constant _INTERVAL_MAX_S = 1 hours;
    uint256 private constant _EXIT_DELAY_MAX_S = 7 days;
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
    int256 internal immutable _priceMin;
    int256 internal immutable _priceMax;
    int256 internal immutable _shortfallPriceMax;
    int256 internal immutable _underUsePriceMin;
    uint256 internal immutable _meteredMaxWh;
    uint256 internal immutable _feeMaxMicroPerKwh;
    address internal immutable _feeAccount;
    uint256 internal immutable _exitDelayS;
    uint256 internal immutable _settleWithinS;

    /* STORAGE */

    mapping(address account => AccountWord) internal _words;
    Totals internal _totals;
    string private _market;
    /// @inheritdoc IEnergyLedger
    address public energyToken;
    /// @inheritdoc IEnergyLedger
    address public compliance;

    constructor(address authority, Terms memory t)
        EIP712("Energy Trade", "1")
        AccessManaged(authority)
    {
        if (bytes(t.market).length == 0) {
            revert ConfigurationInvalid("market");
        }
        if (t.intervalS == 0 || t.intervalS > _INTERVAL_MAX_S) {
            revert ConfigurationInvalid("intervalS");
        }
        if (t.genesis % t.intervalS != 0) revert ConfigurationInvalid("genesis");
        if (t.currency.code.length == 0) revert ConfigurationInvalid("currency");
        _checkPrices(t);
        if (t.meteredMaxWh == 0) revert ConfigurationInvalid("meteredMaxWh");
        if (t.feeMaxMicroPerKwh > uint256(_PRICE_ABSOLUTE_MAX)) {
            revert ConfigurationInvalid("feeMaxMicroPerKwh");
        }
        if (t.feeAccount == address(0)) revert ConfigurationInvalid("feeAccount");
        if (t.exitDelayS > _EXIT_DELAY_MAX_S) revert ConfigurationInvalid("exitDelayS");
        if (t.settleWithinS < t.intervalS) revert ConfigurationInvalid("settleWithinS");
        _market = t.market;
        marketHash = keccak256(bytes(t.market));
        intervalS = t.intervalS;
        genesis = t.genesis;
        currency = t.currency;
        _priceMin = t.priceMin;
        _priceMax = t.priceMax;
        _shortfallPriceMax = t.shortfallPriceMax;
        _underUsePriceMin = t.underUsePriceMin;
        _meteredMaxWh = t.meteredMaxWh;
        _feeMaxMicroPerKwh = t.feeMaxMicroPerKwh;
        _feeAccount = t.feeAccount;
        _exitDelayS = t.exitDelayS;
        _settleWithinS = t.settleWithinS;
    }

    /* VIEWS */

    /// @inheritdoc IEnergyLedger
    function accountOf(address account)
        external
        view
        returns (
            uint256 energyWh,
            uint256 moneyMicro,
            uint256 latestInterval,
            uint256 usedIntervals,
            uint256 flags
        )
    {
        AccountWord word = _words[account];
        energyWh = word.energyWh();
        moneyMicro = word.moneyMicro();
        latestInterval = word.latestInterval();
        usedIntervals = word.usedIntervals();
        flags = word.flags();
    }

    /// @inheritdoc IEnergyLedger
    function terms() external view returns (Terms memory) {
        return Terms({
            market: _market,
            intervalS: uint64(intervalS),
            genesis: uint64(genesis),
            currency: currency,
            priceMin: int64(_priceMin),
            priceMax: int64(_priceMax),
            shortfallPriceMax: int64(_shortfallPriceMax),
            underUsePriceMin: int64(_underUsePriceMin),
            meteredMaxWh: uint48(_meteredMaxWh),
            feeMaxMicroPerKwh: uint48(_feeMaxMicroPerKwh),
            feeAccount: _feeAccount,
            exitDelayS: uint32(_exitDelayS),
            settleWithinS: uint32(_settleWithinS)
        });
    }

    /// @inheritdoc IEnergyLedger
    function domainSeparator() external view returns (bytes32) {
        return _domainSeparatorV4();
    }

    /* INTERNAL: WORDS */

    /// @dev Add what a batch's row changes, and use its interval up when it is the account's first row
    /// (`index` is `_NOT_AGAIN` otherwise). Refuses when the account has one of the flags.
    function _bookRow(
        address account,
        uint256 index,
        uint256 refusedFlags,
        int256 energyWh,
        int256 moneyMicro
    ) internal {
        AccountWord word = _words[account];
        if (word.flags() & refusedFlags != 0) revert AccountBlocked(account, word.flags());
        if (index != _NOT_AGAIN) _use(account, index);
        _book(account, energyWh, moneyMicro);
    }

    /// @dev Add to an account's columns.
    function _book(address account, int256 energyWh, int256 moneyMicro) internal {
        AccountWord word = _words[account];
        unchecked {
            uint256 energy = word.energyWh() + uint256(energyWh); // below zero is a large number
            uint256 money = word.moneyMicro() + uint256(moneyMicro);
            if ((energy | money) > AccountWordLibrary.BALANCE_MAX) {
                _refuse(account, word, energyWh, moneyMicro);
            }
            _words[account] = AccountWordLibrary.pack(word.flagBits(), energy, money, word.replay());
        }
    }

    function _addMoney(address account, uint256 moneyMicro) internal {
        if (moneyMicro > AccountWordLibrary.BALANCE_MAX) revert AccountOverflow(account);
        _book(account, 0, int256(moneyMicro));
    }

    function _takeMoney(address account, uint256 moneyMicro) internal {
        if (moneyMicro > AccountWordLibrary.BALANCE_MAX) revert AccountOverflow(account);
        _book(account, 0, -int256(moneyMicro));
    }

    function _addEnergy(address account, uint256 energyWh) internal {
        if (energyWh > AccountWordLibrary.BALANCE_MAX) revert AccountOverflow(account);
        _book(account, int256(energyWh), 0);
    }

    function _takeEnergy(address account, uint256 energyWh) internal {
        if (energyWh > AccountWordLibrary.BALANCE_MAX) revert AccountOverflow(account);
        _book(account, -int256(energyWh), 0);
    }

    /// @dev Use an account's interval up: a later one moves the window on, an earlier one must be in
    /// it and free.
    function _use(address account, uint256 index) internal {
        AccountWord word = _words[account];
        uint256 latest = word.latestInterval();
        uint256 used = word.usedIntervals();
        if (index > latest) {
            used = uint96(used << index - latest) | 1; // nothing is left of a window that is passed
            latest = index;
        } else {
            uint256 behind = latest - index;
            if (behind >= AccountWordLibrary.WINDOW) revert AccountIntervalPassed(account, latest);
            if (used >> behind & 1 != 0) revert AccountIntervalUsed(account);
            used |= 1 << behind;
        }
        _words[account] = AccountWordLibrary.pack(
            word.flagBits(),
            word.energyWh(),
            word.moneyMicro(),
            latest << AccountWordLibrary.WINDOW | used
        );
    }

    function _flagsOf(address account) internal view returns (uint256) {
        return _words[account].flags();
    }

    function _setFlags(address account, uint256 flags) internal {
        AccountWord word = _words[account];
        _words[account] = AccountWordLibrary.pack(
            flags << 248, word.energyWh(), word.moneyMicro(), word.replay()
        );
    }

    /// @dev Tell whether the interval counts as used for the account: used, or before its window.
    function _isUsed(address account, uint256 deliveryStart) internal view returns (bool) {
        AccountWord word = _words[account];
        uint256 index = _indexOf(deliveryStart);
        uint256 latest = word.latestInterval();
        if (index > latest) return false;
        uint256 behind = latest - index;
        return behind >= AccountWordLibrary.WINDOW || word.usedIntervals() >> behind & 1 != 0;
    }

    /// @dev The interval's number from genesis on.
    function _indexOf(uint256 deliveryStart) internal view returns (uint256 index) {
        if (deliveryStart < genesis) revert DeliveryOutOfRange(deliveryStart);
        uint256 sinceGenesis = deliveryStart - genesis;
        if (sinceGenesis % intervalS != 0) revert DeliveryMisaligned(deliveryStart);
        index = sinceGenesis / intervalS;
        if (index > AccountWordLibrary.INTERVAL_MAX) revert DeliveryOutOfRange(deliveryStart);
    }

    /// @dev The number of an interval whose delivery is over, and not for too long.
    function _deliveredIndexOf(uint256 deliveryStart) internal view returns (uint256) {
        uint256 overAt = deliveryStart + intervalS;
        if (block.timestamp < overAt) revert DeliveryNotOver(deliveryStart, overAt);
        uint256 settledUntil = overAt + _settleWithinS;
        if (block.timestamp > settledUntil) revert DeliveryTooLongAgo(deliveryStart, settledUntil);
        return _indexOf(deliveryStart);
    }

    /// @dev Check an account's own signature over a struct of the ledger's domain.
    function _checkSigned(address account, bytes32 structHash, bytes32 r, bytes32 vs)
        internal
        view
    {
        if (!CompactSignature.isBy(account, _hashTypedDataV4(structHash), r, vs)) {
            revert SignatureInvalid(account);
        }
    }

    /* PRIVATE */

    function _checkPrices(Terms memory t) private pure {
        if (t.priceMin < -_PRICE_ABSOLUTE_MAX || t.priceMin > t.priceMax) {
            revert ConfigurationInvalid("priceMin");
        }
        if (t.priceMax > _PRICE_ABSOLUTE_MAX) revert ConfigurationInvalid("priceMax");
        if (t.shortfallPriceMax < t.priceMin || t.shortfallPriceMax > t.priceMax) {
            revert ConfigurationInvalid("shortfallPriceMax");
        }
        if (t.underUsePriceMin < t.priceMin || t.underUsePriceMin > t.priceMax) {
            revert ConfigurationInvalid("underUsePriceMin");
        }
    }

    /// @dev Say why the balances do not fit.
    function _refuse(address account, AccountWord word, int256 energyWh, int256 moneyMicro)
        private
        pure
    {
        int256 energyAfter = int256(word.energyWh()) + energyWh;
        if (energyAfter < 0) {
            revert AccountEnergyInsufficient(account, word.energyWh(), uint256(-energyWh));
        }
        int256 moneyAfter = int256(word.moneyMicro()) + moneyMicro;
        if (moneyAfter < 0) {
            revert AccountMoneyInsufficient(account, word.moneyMicro(), uint256(-moneyMicro));
        }
        revert AccountOverflow(account);
    }
}
