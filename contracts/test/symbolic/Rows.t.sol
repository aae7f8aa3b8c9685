// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {EnergyLedger} from "../../src/EnergyLedger.sol";
import {AccountWord} from "../../src/types/AccountWord.sol";
import {LedgerProof} from "./LedgerProof.sol";

/// @title RowProof: what one row of a batch can do, whatever stood before it
/// @dev For any row, any account and any batch so far; so for batches of every length, on whichever of
/// the ledger's two paths a row goes. The batch's end is `ConservationProof.checkClosing...`. Proved by
/// halmos for all arguments, see `script/analyse halmos`.
contract RowProof is LedgerProof {
    uint256 private constant _HALF_ORDER =
        0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0;

    /// @dev A batch with one row more, if that was settled.
    struct Step {
        bool done;
        EnergyLedger.Batch batch;
        AccountWord word;
    }

    /// @dev A purchase brings its account what it adds to the sums of purchases, and takes what it adds
    /// to the payments; a sale the other way round (I2).
    function checkRowConserves(
        EnergyLedger.Batch calldata batch,
        Row calldata row,
        bool sale,
        AccountWord word
    ) external {
        Step memory step = _settle(batch, row, sale, word);
        if (!step.done) return;
        EnergyLedger.Batch memory next = step.batch;
        uint256 lanes = uint256(row.executedWh) << 160 | uint256(row.meteredWh) << 64;
        assert(next.bought == batch.bought + (sale ? 0 : lanes));
        assert(next.sold == batch.sold + (sale ? lanes : 0));
        assert(next.paidMicro == batch.paidMicro + (sale ? int256(0) : row.value));
        assert(next.receivedMicro == batch.receivedMicro + (sale ? row.value : int256(0)));
        uint256 gained = sale ? row.meteredWh : row.executedWh;
        uint256 lost = sale ? row.executedWh : row.meteredWh;
        int256 money = sale ? int256(row.value) : -int256(row.value);
        assert(step.word.energyWh() + lost == word.energyWh() + gained);
        assert(int256(step.word.moneyMicro()) == int256(word.moneyMicro()) + money);
        assert(step.word.flags() == word.flags());
    }

    /// @dev Accounts and each account's digests rise, so no order stands twice in a batch; an account's
    /// first row takes its interval, which was free, and its other rows leave the window alone (I5).
    function checkRowUsesTheIntervalOnce(
        EnergyLedger.Batch calldata batch,
        Row calldata row,
        bool sale,
        AccountWord word
    ) external {
        Step memory step = _settle(batch, row, sale, word);
        if (!step.done) return;
        assert(step.batch.account == uint160(row.account));
        assert(step.batch.digest == _digestOf(row, sale));
        if (step.batch.account == batch.account) {
            assert(step.batch.digest > batch.digest);
            assert(step.word.replay() == word.replay());
        } else {
            assert(step.batch.account > batch.account);
            assert(!_isUsed(word, INDEX) && _isUsed(step.word, INDEX));
        }
    }

    /// @dev Whatever other interval was used stays used (I5).
    function checkRowForgetsNoInterval(
        EnergyLedger.Batch calldata batch,
        Row calldata row,
        bool sale,
        AccountWord word,
        uint24 other
    ) external {
        if (!_isUsed(word, other)) return;
        Step memory step = _settle(batch, row, sale, word);
        assert(!step.done || _isUsed(step.word, other));
    }

    /// @dev Where there is no mandate only the account itself signs, in the one valid form (I3).
    function checkRowIsSignedByItsAccount(
        EnergyLedger.Batch calldata batch,
        Row calldata row,
        bool sale,
        AccountWord word
    ) external {
        if (!_settle(batch, row, sale, word).done) return;
        uint256 s = uint256(row.vs) << 1 >> 1;
        assert(s <= _HALF_ORDER && row.account != address(0));
        uint8 v = uint8(27 + (uint256(row.vs) >> 255));
        assert(ecrecover(_digestOf(row, sale), v, row.r, bytes32(s)) == row.account);
    }

    /// @dev A purchase: no more than signed, no dearer than the limit and the band, no more burned than
    /// bought, none for a blocked account (I4).
    function checkBuyerGetsNothingWorseThanSigned(
        EnergyLedger.Batch calldata batch,
        Row calldata row,
        AccountWord word
    ) external {
        if (!_settle(batch, row, false, word).done) return;
        _assertTraded(row);
        assert(row.meteredWh <= row.executedWh);
        assert(word.flags() & 2 == 0);
        unchecked {
            int256 limit = row.limit > PRICE_MAX ? PRICE_MAX : row.limit;
            int256 most = int256(uint256(row.executedWh)) * limit;
            if (row.shortWh != 0 && limit > UNDER_USE_PRICE_MIN) {
                most += int256(uint256(row.shortWh)) * (limit - UNDER_USE_PRICE_MIN);
            }
            assert(int256(row.value) * 1000 <= most);
        }
    }

    /// @dev A sale: no more than signed, no cheaper than the limit and the band but for its trades'
    /// roundings, nothing sold that was not produced, no more minted than can be produced, none for a
    /// blocked account (I4, I6).
    function checkSellerGetsNothingWorseThanSigned(
        EnergyLedger.Batch calldata batch,
        Row calldata row,
        AccountWord word
    ) external {
        Step memory step = _settle(batch, row, true, word);
        if (!step.done) return;
        _assertTraded(row);
        assert(row.trades > 0 && row.trades <= uint256(row.executedWh) + row.shortWh);
        assert(row.meteredWh >= row.executedWh);
        assert(word.flags() & 1 == 0);
        bool again = step.batch.account == batch.account;
        assert(step.batch.accountMintedWh == row.meteredWh + (again ? batch.accountMintedWh : 0));
        assert(step.batch.accountMintedWh <= METERED_MAX_WH);
        unchecked {
            int256 limit = row.limit < PRICE_MIN ? PRICE_MIN : row.limit;
            int256 least = int256(uint256(row.executedWh)) * limit;
            if (row.shortWh != 0 && limit < SHORTFALL_PRICE_MAX) {
                least -= int256(uint256(row.shortWh)) * (SHORTFALL_PRICE_MAX - limit);
            }
            assert((row.value + int256(uint256(row.trades))) * 1000 > least);
        }
    }

    /// @dev Nobody else's account changes (I3).
    function checkRowLeavesOtherAccounts(
        EnergyLedger.Batch calldata batch,
        Row calldata row,
        bool sale,
        address other,
        AccountWord word
    ) external {
        if (other == row.account) return;
        _put(other, word);
        _settle(batch, row, sale, AccountWord.wrap(0));
        assert(AccountWord.unwrap(_wordOf(other)) == AccountWord.unwrap(word));
    }

    function _assertTraded(Row calldata row) private pure {
        uint256 tradedWh = uint256(row.executedWh) + row.shortWh;
        assert(tradedWh > 0 && tradedWh <= row.signedWh);
    }

    /// @dev The order's digest by the ledger's own view.
    function _digestOf(Row calldata row, bool sale) private view returns (bytes32) {
        uint8 side = sale ? 1 : 0;
        return
            ledger.orderDigest(
                row.account, _startOf(INDEX), side, row.signedWh, row.limit, row.terms
            );
    }

    function _settle(
        EnergyLedger.Batch calldata batch,
        Row calldata row,
        bool sale,
        AccountWord word
    ) private returns (Step memory step) {
        if (!_isReachable(batch)) return step;
        _put(row.account, word);
        bytes memory rows = _pack(row, sale ? 1 : 0);
        bytes memory result;
        (step.done, result) =
            address(ledger).call(abi.encodeCall(ledger.settleFrom, (_startOf(INDEX), batch, rows)));
        if (!step.done) return step;
        step.batch = abi.decode(result, (EnergyLedger.Batch));
        step.word = _wordOf(row.account);
    }

    /// @dev As far as a batch can have come: 2^31 rows, which no calldata holds. Account zero stands only
    /// at a batch's beginning, with the highest digest (`checkRowIsSignedByItsAccount` lets none follow).
    function _isReachable(EnergyLedger.Batch calldata batch) private pure returns (bool) {
        bool sums = batch.bought >> 239 == 0 && batch.sold >> 239 == 0
            && uint96(batch.bought >> 64) >> 79 == 0 && uint96(batch.sold >> 64) >> 79 == 0;
        bool money = int96(batch.paidMicro) == batch.paidMicro
            && int96(batch.receivedMicro) == batch.receivedMicro;
        bool place = batch.account >> 160 == 0
            && (batch.account != 0 || batch.digest == bytes32(type(uint256).max));
        return sums && money && place && batch.accountMintedWh <= METERED_MAX_WH;
    }
}
