// SPDX-License-Identifier: MIT
pragma solidity ^0.8.37;

import {AccountWord} from "../../src/types/AccountWord.sol";
import {LedgerProof} from "./LedgerProof.sol";

/// @title ReplayProof: an account's interval is used once, whatever happened before (I5)
/// @dev For every word that an account can have, so also after any number of calls: using an interval
/// is refused if it is used, marks it, forgets no other, and nothing else takes a mark away. Proved by
/// halmos for all arguments, see `script/analyse halmos`.
contract ReplayProof is LedgerProof {
    function checkUsedIntervalIsRefused(address account, AccountWord word, uint24 index) external {
        if (!_isUsed(word, index)) return;
        _put(account, word);
        assert(!_use(account, index));
    }

    function checkFreeIntervalIsTakenAndMarked(address account, AccountWord word, uint24 index)
        external
    {
        if (_isUsed(word, index)) return;
        _put(account, word);
        assert(_use(account, index));
        assert(_isUsed(_wordOf(account), index));
    }

    function checkUseForgetsNoInterval(
        address account,
        AccountWord word,
        uint24 index,
        uint24 other
    ) external {
        if (!_isUsed(word, other)) return;
        _put(account, word);
        _use(account, index);
        assert(_isUsed(_wordOf(account), other));
    }

    function checkUseTakesNoFreeNeighbour(
        address account,
        AccountWord word,
        uint24 index,
        uint24 other
    ) external {
        if (_isUsed(word, other) || other == index) return;
        _put(account, word);
        _use(account, index);
        AccountWord after_ = _wordOf(account);
        // Only what falls out of the window's end counts as used without having been.
        assert(!_isUsed(after_, other) || after_.latestInterval() - other >= 96);
    }

    function checkUseLeavesTheRestOfTheWord(address account, AccountWord word, uint24 index)
        external
    {
        _put(account, word);
        _use(account, index);
        AccountWord after_ = _wordOf(account);
        assert(AccountWord.unwrap(after_) >> 120 == AccountWord.unwrap(word) >> 120);
    }

    function checkUseLeavesOtherAccounts(
        address account,
        address other,
        AccountWord word,
        uint24 index
    ) external {
        if (account == other) return;
        _put(other, word);
        _use(account, index);
        assert(AccountWord.unwrap(_wordOf(other)) == AccountWord.unwrap(word));
    }

    function checkNothingElseTouchesTheWindow(
        address account,
        address other,
        AccountWord word,
        uint256 energyWh,
        uint8 flags
    ) external {
        _put(account, word);
        _tryCall(abi.encodeCall(ledger.mintEnergy, (account, energyWh)));
        _tryCall(abi.encodeCall(ledger.burnEnergy, (account, energyWh)));
        _tryCall(abi.encodeCall(ledger.moveEnergy, (account, other, energyWh)));
        _tryCall(abi.encodeCall(ledger.setAccountFlags, (account, flags)));
        assert(_wordOf(account).replay() == word.replay());
    }

    function _use(address account, uint256 index) private returns (bool) {
        return _tryCall(abi.encodeCall(ledger.useInterval, (account, _startOf(index))));
    }
}
